"""The lender of limits: what each plane may use of every limit that the whole router has."""
