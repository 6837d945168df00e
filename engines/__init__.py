"""The engines, one a module; each has `load(model, variant, threads, lanes) -> Engine`."""
