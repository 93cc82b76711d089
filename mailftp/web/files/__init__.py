"""An account's files by HTTP: the same homes, policy and quotas as FTP."""
