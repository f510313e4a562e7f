"""Who votes on which database leads: etcd."""
