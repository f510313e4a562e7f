"""What auditors say of machines: asked, judged, shown."""
