//! Composition, configuration and boot of the whole cloud.
