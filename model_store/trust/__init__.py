"""Trust in a version: its manifest, the verification of its files, and signatures."""
