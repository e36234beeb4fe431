"""What the router did over hours: rows that are kept in the runtime folder, and reports that are made of them."""
