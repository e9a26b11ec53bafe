//! What can go wrong with a peer, and which close code tells it so.
