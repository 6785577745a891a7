//! Trains, judges and deploys video event recognisers.
