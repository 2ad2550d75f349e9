//! Reading what was stored: rows of whole hours, a page at a time, over the caller's open transaction; and their sums.

use std::collections::BTreeMap;

use base_types::{AccountId, Fault, Region, Timestamp};
use store_api::{Store, Tx};

use crate::{
    sums::Sums,
    tables::{self, begin_of, hour_of},
};

/// Rows of one page: far within what one transaction may read.
pub const PAGE_ROWS_MAX: usize = 4_000;
/// How many functions' names are looked at in a time.
const NAMES: usize = 500;

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whose functions.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// Only this one.
    pub function: Option<String>,
    /// The hour that this instant lies in is the first.
    pub from: Timestamp,
    /// The hour that this instant lies in is the last.
    pub until: Timestamp,
}

/// One version in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The function's name.
    pub function: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// When the hour began.
    pub hour: Timestamp,
    /// What happened in it.
    pub sums: Sums,
}

/// Rows by function, hour and version.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// At most [`PAGE_ROWS_MAX`].
    pub rows: Vec<Row>,
    /// Where the next page goes on; none when this is the last.
    pub next: Option<Cursor>,
}

/// Where a page goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) function: String,
    pub(crate) hour: u64,
    pub(crate) version: String,
}

/// The rows of a selection behind a cursor.
///
/// # Errors
/// A fault of the store.
pub fn hours(tx: &Tx, selection: &Selection, after: Option<&Cursor>) -> Result<Page, Fault> {
    let mut page = Page::default();
    let mut after = after.cloned();
    let Selection { account, region, .. } = selection;
    let range = (hour_of(selection.from), hour_of(selection.until).saturating_add(1));
    let mut names = match (&selection.function, &after) {
        (Some(only), _) => vec![only.clone()],
        (None, Some(cursor)) => vec![cursor.function.clone()],
        (None, None) => Vec::new(),
    };
    let mut more = match (&selection.function, &after) {
        (Some(_), _) => More::Done,
        (None, Some(cursor)) => More::After(Some(cursor.function.clone())),
        (None, None) => More::After(None),
    };
    loop {
        for function in names {
            let left = PAGE_ROWS_MAX - page.rows.len();
            let own = after.take().filter(|cursor| cursor.function == function);
            let found = tables::rows(tx, (*account, region, &function), range, own.as_ref(), left)?;
            let full = found.len() == left;
            page.rows.extend(found.into_iter().map(|(hour, version, sums)| Row {
                function: function.clone(),
                version,
                hour: begin_of(hour),
                sums,
            }));
            if full {
                page.next = page.rows.last().map(|row| Cursor {
                    function: row.function.clone(),
                    hour: hour_of(row.hour),
                    version: row.version.clone(),
                });
                return Ok(page);
            }
        }
        let More::After(last) = more else { return Ok(page) };
        let (found, next) = tables::functions(tx, *account, region, last.as_deref(), range.0, NAMES)?;
        more = next.map_or(More::Done, |next| More::After(Some(next)));
        names = found;
    }
}

/// Whether there are functions that were not looked at.
enum More {
    Done,
    After(Option<String>),
}

/// Everything of a selection, added up.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By function and version.
    pub functions: BTreeMap<String, BTreeMap<String, Sums>>,
    /// By calendar month (`2026-11`), all functions together: what a bill is made of.
    pub months: BTreeMap<String, Sums>,
}

impl Summary {
    /// Adds a row.
    pub fn add(&mut self, row: &Row) {
        let month = row.hour.to_iso8601().chars().take(7).collect();
        self.months.entry(month).or_default().merge(&row.sums);
        let versions = self.functions.entry(row.function.clone()).or_default();
        versions.entry(row.version.clone()).or_default().merge(&row.sums);
    }

    /// All functions together.
    #[must_use]
    pub fn total(&self) -> Sums {
        self.months.values().fold(Sums::default(), |mut total, month| {
            total.merge(month);
            total
        })
    }
}

/// Adds up a selection, page by page: what is recorded meanwhile may or may not be among it.
///
/// # Errors
/// A fault of the store.
pub async fn summarise(store: &Store, selection: &Selection) -> Result<Summary, Fault> {
    let mut summary = Summary::default();
    let mut after: Option<Cursor> = None;
    loop {
        let (selection, cursor) = (selection.clone(), after.clone());
        let page = store.view(move |tx| hours(tx, &selection, cursor.as_ref())).await?;
        page.rows.iter().for_each(|row| summary.add(row));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(summary),
        }
    }
}
