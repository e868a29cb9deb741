"""Images, as the API's clients see them."""
