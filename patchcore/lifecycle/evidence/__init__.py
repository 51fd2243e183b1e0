"""What makes the ledger's answers hold: verification, anchors, exports, archives."""
