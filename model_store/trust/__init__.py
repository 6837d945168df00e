"""What a version must be: its manifest, the check of files against it, and signatures."""
