"""Images: MNIST, USPS, the digits, a user's own, found, checked and saved."""
