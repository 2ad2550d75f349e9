//! What every service shares: the context, the dispatcher that owns the transaction, tags, tokens, quotas, audit.
