"""Only the pages are doctested: neither Sphinx' configuration nor what it writes."""

collect_ignore = ["_extensions", "_build", "api.rst", "conf.py", "gallery", "generated"]
