//! The ring against a list that is slow and simple, and the laws of what readers get.
