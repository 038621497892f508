"""The supervisor: owns what must outlive a crash and keeps one engine and one control plane running."""
