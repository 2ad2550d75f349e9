//! The operations, by what they are about.

pub(crate) mod groups;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod retention;
pub(crate) mod streams;
pub(crate) mod tags;

use model_logs::Error;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    CloudWatchLogs,
    error::{group_missing, stream_missing, token_invalid},
    names,
    tables::{Group, Id, Place, Stream},
};

/// Checks a group's name, permits `action` on it, and finds it.
pub(crate) fn find_group(tx: &Tx, cx: &Cx, action: &str, name: &str) -> Result<Group, Error> {
    names::check_group(name)?;
    cx.authorize::<Error>(tx, action, &names::group_resource(cx, name))?;
    Place::of(cx).group(tx, name)?.ok_or_else(group_missing)
}

/// As [`find_group`] for a stream and its group.
pub(crate) fn find_stream(
    tx: &Tx,
    cx: &Cx,
    action: &str,
    group_name: &str,
    name: &str,
) -> Result<(Group, Stream), Error> {
    names::check_group(group_name)?;
    names::check_stream(name)?;
    cx.authorize::<Error>(tx, action, &names::stream_arn(cx, group_name, name))?;
    let group = Place::of(cx).group(tx, group_name)?.ok_or_else(group_missing)?;
    let stream = Place::of(cx).stream(tx, &group.id, name)?.ok_or_else(stream_missing)?;
    Ok((group, stream))
}

impl CloudWatchLogs {
    /// A new identity for a group or stream.
    pub(crate) fn new_id(&self) -> Id {
        let mut id = Id::default();
        self.env.fill(&mut id);
        id
    }

    /// Seals the cursor of a listing.
    pub(crate) fn seal(&self, cx: &Cx, scope: &[&str], cursor: &[u8]) -> String {
        self.page_tokens.seal(&whole_scope(cx, scope), cursor)
    }

    /// Opens the token that a request came with.
    pub(crate) fn unseal(&self, cx: &Cx, scope: &[&str], token: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
        let open = |token| self.page_tokens.open(&whole_scope(cx, scope), token).map_err(|_| token_invalid());
        token.map(open).transpose()
    }

    /// As [`Self::unseal`] for a cursor that is a name.
    pub(crate) fn unseal_name(&self, cx: &Cx, scope: &[&str], token: Option<&str>) -> Result<Option<String>, Error> {
        let cursor = self.unseal(cx, scope, token)?;
        cursor.map(|bytes| String::from_utf8(bytes).map_err(|_| token_invalid())).transpose()
    }
}

fn whole_scope<'a>(cx: &'a Cx, scope: &[&'a str]) -> Vec<&'a str> {
    [cx.account.as_str(), cx.region.as_str()].into_iter().chain(scope.iter().copied()).collect()
}
