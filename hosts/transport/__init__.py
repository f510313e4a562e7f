"""How machines are reached over ssh, by deploys and by people, and how the provider is asked."""
