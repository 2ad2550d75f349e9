//! The json 1.0, json 1.1 and rest-json codecs, over the schema.
