"""The numbered steps that a store is made and changed by: one file each, forward only, never changed once released."""
