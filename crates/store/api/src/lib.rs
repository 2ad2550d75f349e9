//! The transactional ordered key space as every service sees it.
