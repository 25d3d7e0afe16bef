"""Work that requests leave behind, done beside them."""
