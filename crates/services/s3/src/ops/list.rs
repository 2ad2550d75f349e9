//! Listings: objects (both versions of the operation) and versions.
//!
//! What lies behind a delimiter is skipped by one seek, however much it is: a listing costs what it lists.

use base_types::Fault;
use model_s3::*;
use services_kernel::Cx;
use store_api::{Direction, Key, KeyRange, Table, Tx};

use crate::{
    S3,
    access::{self, Ask},
    acl::{self, Permission},
    checksum,
    error::{argument, argument_named},
    history, ids, names,
    tables::{self, CURRENT, OLDER, Version},
};

/// Entries of a page (AWS: 1000).
const PAGE_MAX: i32 = 1000;
/// Elements of a key of ours before the object's key: the two empty ones of a global key, the table, the bucket.
const BEFORE_TEXT: usize = 4;
/// Records read at once at first; more where nothing is skipped.
const FIRST_READ: usize = 16;

/// What is listed.
pub(crate) struct Question<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    /// Only what lies behind this key.
    pub(crate) after: Option<&'a str>,
    /// … and behind this group of keys.
    pub(crate) after_group: Option<&'a str>,
    pub(crate) max: usize,
}

/// An entry of a listing.
#[derive(Debug)]
pub(crate) enum Entry<V> {
    Key(String, V),
    /// All keys that begin so.
    Group(String),
}

/// A page of a listing.
#[derive(Debug)]
pub(crate) struct Page<V> {
    pub(crate) entries: Vec<Entry<V>>,
    pub(crate) truncated: bool,
}

/// The group that a key belongs to.
pub(crate) fn group<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// One page of a table whose keys are `base` and a text.
pub(crate) fn page<V>(tx: &Tx, table: Table<V>, base: &Key, question: &Question<'_>) -> Result<Page<V>, Fault>
where
    V: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let mut range = tables::beginning(base, question.prefix);
    if let Some(after) = question.after {
        range = range.after(&base.clone().str(after));
    }
    if let Some(group) = question.after_group {
        range = behind(&range, base, group);
    }
    let mut page = Page { entries: Vec::new(), truncated: false };
    if question.max == 0 {
        return Ok(page);
    }
    let whole = if question.delimiter.is_some() { FIRST_READ } else { question.max + 1 };
    let mut read = whole.min(question.max + 1);
    loop {
        let records = table.scan(tx, &range, read, Direction::Forward)?;
        let more = records.len() == read;
        let mut skipping: Option<String> = None;
        let mut last = None;
        for (key, record) in records {
            let text = tables::text_of(&key, BEFORE_TEXT)?;
            last = Some(key);
            if skipping.as_ref().is_some_and(|group| text.starts_with(group.as_str())) {
                continue;
            }
            if page.entries.len() == question.max {
                page.truncated = true;
                return Ok(page);
            }
            match group(&text, question.prefix, question.delimiter) {
                Some(group) => {
                    page.entries.push(Entry::Group(group.to_owned()));
                    skipping = Some(group.to_owned());
                }
                None => {
                    skipping = None;
                    page.entries.push(Entry::Key(text, record));
                }
            }
        }
        let Some(last) = last.filter(|_| more) else { return Ok(page) };
        (range, read) = match skipping {
            Some(group) => (behind(&range, base, &group), FIRST_READ),
            None => (range.after(&last), (read * 4).min(1024)),
        };
    }
}

/// The part of `range` behind everything that begins with `group`.
fn behind(range: &KeyRange, base: &Key, group: &str) -> KeyRange {
    let after = tables::beginning(base, group);
    if after.end() > range.start() {
        KeyRange::encoded(after.end().to_vec(), range.end().to_vec())
    } else {
        range.clone()
    }
}

/// What every listing asks.
struct Common {
    max: usize,
    url: bool,
}

fn common(max: Option<i32>, encoding: Option<&str>, name: &str) -> Result<Common, Error> {
    let max = max.unwrap_or(PAGE_MAX);
    if max < 0 {
        return Err(argument("Argument maxKeys must be an integer between 0 and 2147483647", name, &max.to_string()));
    }
    if let Some(encoding) = encoding.filter(|encoding| *encoding != "url") {
        return Err(argument("Invalid Encoding Method specified in Request", "encoding-type", encoding));
    }
    Ok(Common { max: max.min(PAGE_MAX) as usize, url: encoding.is_some() })
}

impl Common {
    /// A key as the client wants to read it.
    fn write(&self, text: &str) -> String {
        if self.url { names::encoded(text) } else { text.to_owned() }
    }

    fn groups(&self, groups: Vec<String>) -> Option<Vec<CommonPrefix>> {
        (!groups.is_empty())
            .then(|| groups.iter().map(|group| CommonPrefix { prefix: Some(self.write(group)) }).collect())
    }
}

/// The parts of a page: objects, groups, and what a continuation begins behind.
fn split(common: &Common, page: Page<Version>, owner: bool) -> (Vec<Object>, Vec<String>, Option<Entry<()>>) {
    let (mut objects, mut groups, mut last) = (Vec::new(), Vec::new(), None);
    for entry in page.entries {
        match entry {
            Entry::Key(key, version) => {
                objects.push(object(common, &key, &version, owner));
                last = Some(Entry::Key(key, ()));
            }
            Entry::Group(group) => {
                groups.push(group.clone());
                last = Some(Entry::Group(group));
            }
        }
    }
    (objects, groups, last.filter(|_| page.truncated))
}

fn object(common: &Common, key: &str, version: &Version, owner: bool) -> Object {
    Object {
        key: Some(common.write(key)),
        last_modified: Some(version.modified),
        e_tag: Some(super::objects::quoted(&version.etag)),
        checksum_algorithm: algorithms(version),
        checksum_type: super::objects::sum_type(version.checksum.as_ref()),
        size: i64::try_from(version.size).ok(),
        storage_class: Some(version.class.clone().unwrap_or_else(|| "STANDARD".to_owned())),
        owner: owner.then(|| acl::owner(version.owner)),
        restore_status: None,
    }
}

fn algorithms(version: &Version) -> Option<Vec<String>> {
    let sum: Option<&checksum::Checksum> = version.checksum.as_ref();
    sum.map(|sum| vec![sum.algorithm.name().to_owned()])
}

fn ask<'a>(prefix: Option<&String>, delimiter: Option<&String>, action: &'a str) -> Ask<'a> {
    let mut ask = Ask::of_bucket(action).granted_by(Permission::Read);
    ask.conditions.push(("s3:prefix", prefix.cloned().unwrap_or_default()));
    ask.conditions.push(("s3:delimiter", delimiter.cloned().unwrap_or_default()));
    ask
}

/// An empty text asks for nothing.
fn some(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

impl S3 {
    pub(crate) fn list_v2(&self, cx: &Cx, tx: &Tx, input: &ListObjectsV2Request) -> Result<ListObjectsV2Output, Error> {
        let common = common(input.max_keys, input.encoding_type.as_deref(), "max-keys")?;
        let ask = ask(input.prefix.as_ref(), input.delimiter.as_ref(), "s3:ListBucket");
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let scope = ["s3", "ListObjectsV2", &input.bucket];
        let wrong = || argument_named("The continuation token provided is incorrect", "continuation-token");
        let token = match input.continuation_token.as_deref() {
            None => None,
            Some(token) => {
                let bytes = self.page_tokens.open(&scope, token).map_err(|_| wrong())?;
                Some(String::from_utf8(bytes).map_err(|_| wrong())?)
            }
        };
        let (key, group) = match &token {
            Some(token) => (token.strip_prefix("k"), token.strip_prefix("g")),
            None => (some(input.start_after.as_ref()), None),
        };
        let question = Question {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: some(input.delimiter.as_ref()),
            after: key,
            after_group: group,
            max: common.max,
        };
        let page = page(tx, CURRENT, &tables::current(found.bucket.id), &question)?;
        let truncated = page.truncated;
        let (objects, groups, next) = split(&common, page, input.fetch_owner == Some(true));
        let next = next.map(|last| match last {
            Entry::Key(key, ()) => format!("k{key}"),
            Entry::Group(group) => format!("g{group}"),
        });
        Ok(ListObjectsV2Output {
            is_truncated: Some(truncated),
            key_count: i32::try_from(objects.len() + groups.len()).ok(),
            contents: (!objects.is_empty()).then_some(objects),
            common_prefixes: common.groups(groups),
            name: Some(input.bucket.clone()),
            prefix: Some(common.write(question.prefix)),
            delimiter: question.delimiter.map(|text| common.write(text)),
            max_keys: i32::try_from(common.max).ok(),
            encoding_type: input.encoding_type.clone(),
            continuation_token: input.continuation_token.clone(),
            next_continuation_token: next.map(|next| self.page_tokens.seal(&scope, next.as_bytes())),
            start_after: some(input.start_after.as_ref()).map(|text| common.write(text)),
            ..ListObjectsV2Output::default()
        })
    }

    pub(crate) fn list_v1(&self, cx: &Cx, tx: &Tx, input: &ListObjectsRequest) -> Result<ListObjectsOutput, Error> {
        let common = common(input.max_keys, input.encoding_type.as_deref(), "max-keys")?;
        let ask = ask(input.prefix.as_ref(), input.delimiter.as_ref(), "s3:ListBucket");
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let (prefix, delimiter) = (input.prefix.as_deref().unwrap_or_default(), some(input.delimiter.as_ref()));
        let marker = some(input.marker.as_ref());
        // A marker in a group is behind that group.
        let after_group =
            marker.filter(|marker| marker.starts_with(prefix)).and_then(|marker| group(marker, prefix, delimiter));
        let question = Question { prefix, delimiter, after: marker, after_group, max: common.max };
        let page = page(tx, CURRENT, &tables::current(found.bucket.id), &question)?;
        let truncated = page.truncated;
        let (objects, groups, next) = split(&common, page, true);
        // AWS tells where to go on only where the last key does not tell it.
        let next = next.filter(|_| delimiter.is_some()).map(|last| match last {
            Entry::Key(text, ()) | Entry::Group(text) => common.write(&text),
        });
        Ok(ListObjectsOutput {
            is_truncated: Some(truncated),
            marker: Some(common.write(marker.unwrap_or_default())),
            next_marker: next,
            contents: (!objects.is_empty()).then_some(objects),
            common_prefixes: common.groups(groups),
            name: Some(input.bucket.clone()),
            prefix: Some(common.write(prefix)),
            delimiter: delimiter.map(|text| common.write(text)),
            max_keys: i32::try_from(common.max).ok(),
            encoding_type: input.encoding_type.clone(),
            ..ListObjectsOutput::default()
        })
    }

    pub(crate) fn list_versions(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListObjectVersionsRequest,
    ) -> Result<ListObjectVersionsOutput, Error> {
        let common = common(input.max_keys, input.encoding_type.as_deref(), "max-keys")?;
        let ask = ask(input.prefix.as_ref(), input.delimiter.as_ref(), "s3:ListBucketVersions");
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let (prefix, delimiter) = (input.prefix.as_deref().unwrap_or_default(), some(input.delimiter.as_ref()));
        let (key_marker, version_marker) = (some(input.key_marker.as_ref()), some(input.version_id_marker.as_ref()));
        if version_marker.is_some() && key_marker.is_none() {
            return Err(argument_named(
                "A version-id marker cannot be specified without a key marker.",
                "version-id-marker",
            ));
        }
        let number = match (version_marker, key_marker) {
            (Some(ids::NULL), Some(key)) => {
                let place = history::Place::new(&found, key);
                place.version(tx, Some(ids::NULL)).ok().map(|version| version.number)
            }
            (Some(marker), _) => {
                let read = ids::read_version(marker);
                Some(read.ok_or_else(|| argument("Invalid version id specified", "version-id-marker", marker))?.0)
            }
            (None, _) => None,
        };
        let mut walk = Versions::new(tx, found.bucket.id, prefix, key_marker, number);
        if let Some(group) =
            key_marker.filter(|marker| marker.starts_with(prefix)).and_then(|marker| group(marker, prefix, delimiter))
        {
            walk.skip(group);
        }
        let (mut versions, mut markers, mut groups) = (Vec::new(), Vec::new(), Vec::<String>::new());
        let (mut count, mut truncated, mut last) = (0, false, None);
        while let Some((key, version, latest)) = if common.max > 0 { walk.next()? } else { None } {
            if count == common.max {
                truncated = true;
                break;
            }
            count += 1;
            if let Some(group) = group(&key, prefix, delimiter) {
                groups.push(group.to_owned());
                last = Some((group.to_owned(), None));
                walk.skip(group);
                continue;
            }
            let id = Some(history::name(&version));
            last = Some((key.clone(), id.clone()));
            if version.marker {
                markers.push(DeleteMarkerEntry {
                    owner: Some(acl::owner(version.owner)),
                    key: Some(common.write(&key)),
                    version_id: id,
                    is_latest: Some(latest),
                    last_modified: Some(version.modified),
                });
            } else {
                let Object {
                    e_tag,
                    checksum_algorithm,
                    checksum_type,
                    size,
                    key,
                    last_modified,
                    owner,
                    storage_class,
                    ..
                } = object(&common, &key, &version, true);
                versions.push(ObjectVersion {
                    e_tag,
                    checksum_algorithm,
                    checksum_type,
                    size,
                    storage_class,
                    key,
                    version_id: id,
                    is_latest: Some(latest),
                    last_modified,
                    owner,
                    restore_status: None,
                });
            }
        }
        let next = last.filter(|_| truncated);
        Ok(ListObjectVersionsOutput {
            is_truncated: Some(truncated),
            key_marker: Some(common.write(key_marker.unwrap_or_default())),
            version_id_marker: Some(version_marker.unwrap_or_default().to_owned()),
            next_key_marker: next.as_ref().map(|(key, _)| common.write(key)),
            next_version_id_marker: next.and_then(|(_, id)| id),
            versions: (!versions.is_empty()).then_some(versions),
            delete_markers: (!markers.is_empty()).then_some(markers),
            name: Some(input.bucket.clone()),
            prefix: Some(common.write(prefix)),
            delimiter: delimiter.map(|text| common.write(text)),
            max_keys: i32::try_from(common.max).ok(),
            common_prefixes: common.groups(groups),
            encoding_type: input.encoding_type.clone(),
            ..ListObjectVersionsOutput::default()
        })
    }
}

/// All versions in order: by key, the current one first, then the older ones from new to old.
struct Versions<'t> {
    tx: &'t Tx,
    current: Side,
    older: Side,
    /// The key that was given last: its older ones are not the latest.
    seen: Option<String>,
}

/// One of the two tables, read ahead.
struct Side {
    table: Table<Version>,
    base: Key,
    range: KeyRange,
    read: std::collections::VecDeque<(Key, String, Version)>,
    over: bool,
}

impl Side {
    fn peek(&mut self, tx: &Tx) -> Result<Option<&(Key, String, Version)>, Fault> {
        if self.read.is_empty() && !self.over {
            let page = self.table.scan(tx, &self.range, 128, Direction::Forward)?;
            self.over = page.len() < 128;
            if let Some((last, _)) = page.last() {
                self.range = self.range.clone().after(last);
            }
            for (key, version) in page {
                let text = tables::text_of(&key, BEFORE_TEXT)?;
                self.read.push_back((key, text, version));
            }
        }
        Ok(self.read.front())
    }

    fn skip(&mut self, group: &str) {
        while self.read.front().is_some_and(|(_, text, _)| text.starts_with(group)) {
            self.read.pop_front();
        }
        if self.read.is_empty() {
            self.range = behind(&self.range, &self.base, group);
        }
    }
}

impl<'t> Versions<'t> {
    /// `key` and `number`: only what lies behind this version, or behind all of this key's.
    fn new(tx: &'t Tx, bucket: tables::Id, prefix: &str, key: Option<&str>, number: Option<u64>) -> Self {
        let side = |table: Table<Version>, base: Key| {
            let range = tables::beginning(&base, prefix);
            Side { table, base, range, read: std::collections::VecDeque::new(), over: false }
        };
        let (mut current, mut older) = (side(CURRENT, tables::current(bucket)), side(OLDER, tables::older(bucket)));
        if let Some(key) = key {
            current.range = current.range.after(&current.base.clone().str(key));
            let base = older.base.clone().str(key);
            older.range = match number {
                Some(number) => older.range.after(&base.descending(number)),
                None => older.range.after(&base),
            };
        }
        Self { tx, current, older, seen: key.filter(|_| number.is_some()).map(str::to_owned) }
    }

    fn skip(&mut self, group: &str) {
        self.current.skip(group);
        self.older.skip(group);
    }

    /// The next version, and whether it is its key's latest.
    fn next(&mut self) -> Result<Option<(String, Version, bool)>, Fault> {
        let first = self.current.peek(self.tx)?.map(|(_, text, _)| text.clone());
        let second = self.older.peek(self.tx)?.map(|(_, text, _)| text.clone());
        let from_current = match (&first, &second) {
            (None, None) => return Ok(None),
            (Some(first), Some(second)) => first <= second,
            (first, _) => first.is_some(),
        };
        let side = if from_current { &mut self.current } else { &mut self.older };
        let Some((_, text, version)) = side.read.pop_front() else { return Ok(None) };
        let latest = self.seen.as_deref() != Some(&*text);
        self.seen = Some(text.clone());
        Ok(Some((text, version, latest)))
    }
}
