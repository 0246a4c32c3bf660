"""What goes between the node and its peers: fetched, asked, delivered, told."""
