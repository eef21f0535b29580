"""What every room may use: types, parameters, seeds, warnings, and the two doors to others' private parts."""
