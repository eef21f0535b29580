__version__ = "0.1.0"

#: Where the documentation of this version is.
DOCUMENTATION = "https://skae.readthedocs.io/en/stable"
