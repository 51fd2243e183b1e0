"""What makes the ledger trustworthy: verification, anchors, exports, archives."""
