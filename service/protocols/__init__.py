"""The APIs served over HTTP: a package or module for each; `apis` lists them."""
