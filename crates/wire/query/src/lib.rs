//! The query codec and its XML answers, over the schema.
