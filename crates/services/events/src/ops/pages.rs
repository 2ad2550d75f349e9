//! Pages of listings.

use base_types::Fault;
use model_events::Error;
use store_api::{Direction, Key, Table, Tx};

use crate::{EventBridge, error::bad_parameter};

/// Entries of a page when nothing is said, and at most.
const PAGE: usize = 100;
/// Records looked at for one page that is narrowed down.
const LOOKED_AT_MAX: usize = 10_000;

/// A page, and where the next one goes on.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

/// What of a listing is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Whose names begin so.
    pub(crate) prefix: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) limit: Option<i32>,
}

impl EventBridge {
    /// One page of the records below `rows`, by name. `scope` names the listing; `show` passes over what it does not show.
    pub(crate) fn page<V, T>(
        &self,
        tx: &Tx,
        table: &Table<V>,
        rows: &Key,
        scope: &[&str],
        asked: Asked<'_>,
        mut show: impl FnMut(&str, V) -> Result<Option<T>, Error>,
    ) -> Result<Page<T>, Error>
    where
        V: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
    {
        let prefix = asked.prefix.unwrap_or_default();
        let size = asked.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE).clamp(1, PAGE);
        let mut after = asked.token.map(|token| self.cursor(scope, token)).transpose()?;
        let mut shown = Vec::new();
        for _ in 0..LOOKED_AT_MAX / PAGE {
            let mut range = rows.prefix();
            match &after {
                Some(name) => range = range.after(&rows.clone().str(name)),
                None if !prefix.is_empty() => {
                    range = store_api::KeyRange::between(&rows.clone().str(prefix), &end(rows))
                }
                None => {}
            }
            let records = table.scan(tx, &range, PAGE, Direction::Forward)?;
            let looked_at = records.len();
            for (key, record) in records {
                let name = key.last_str().map_err(Fault::from)?;
                if !name.starts_with(prefix) {
                    return Ok((shown, None));
                }
                if shown.len() == size {
                    let cursor = after.unwrap_or_default();
                    return Ok((shown, Some(self.page_tokens.seal(scope, cursor.as_bytes()))));
                }
                shown.extend(show(&name, record)?);
                after = Some(name);
            }
            if looked_at < PAGE {
                return Ok((shown, None));
            }
        }
        let next = after.map(|name| self.page_tokens.seal(scope, name.as_bytes()));
        Ok((shown, next))
    }

    fn cursor(&self, scope: &[&str], token: &str) -> Result<String, Error> {
        let opened = self.page_tokens.open(scope, token).ok().and_then(|cursor| String::from_utf8(cursor).ok());
        opened.ok_or_else(|| bad_parameter("NextToken", None))
    }
}

/// Behind every record below `rows`: no element of a key begins with FF.
fn end(rows: &Key) -> Key {
    let mut bytes = rows.as_bytes().to_vec();
    bytes.push(0xFF);
    Key::from_encoded(&bytes)
}
