//! What e-mail and SMS subscribers would have got. Pileus sends neither; it keeps the last thousand of an account and region
//! and shows them.

use base_types::{AccountId, Fault, Region, Timestamp};
use store_api::Direction;

use crate::{Sns, tables::OUTBOX};

/// A letter that was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When it would have been sent.
    pub at: Timestamp,
    /// `email`, `email-json`, `sms`.
    pub protocol: String,
    /// The address or number.
    pub to: String,
    /// Its subject.
    pub subject: Option<String>,
    /// Its text; of a request to confirm, with the address that confirms.
    pub text: String,
    /// The topic it came from.
    pub topic_arn: Option<String>,
}

impl Sns {
    /// The last letters that were not sent, newest first.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn outbox(&self, account: AccountId, region: Region, most: usize) -> Result<Vec<Kept>, Fault> {
        self.store
            .view(move |tx| {
                let letters = OUTBOX.scan(tx, &OUTBOX.key(account, &region).prefix(), most, Direction::Forward)?;
                let kept = letters.into_iter().map(|(_, letter)| Kept {
                    at: letter.at,
                    protocol: letter.protocol,
                    to: letter.to,
                    subject: letter.subject,
                    text: letter.text,
                    topic_arn: letter.topic_arn,
                });
                Ok(kept.collect())
            })
            .await
    }
}
