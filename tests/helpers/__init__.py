"""What several tests share: runs and studies to report on, networks to watch, scripts to treat."""
