"""Data: rows of any kind, in memory or stored, checked and ready to be read in batches."""
