"""Who is who: from the stack to machines that can be reached over ssh, and nothing that changes a machine's purpose."""
