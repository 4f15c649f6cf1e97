"""The addresses, by who calls them."""
