"""What a reader holds in the hand: claims with their verdicts, verification, provenance, report, gallery, notebooks."""
