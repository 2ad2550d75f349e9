//! The versions of one key: what comes, what goes, what is current.
//!
//! The current version, unless it is a delete marker, stands in a table of its own, so that a listing of objects reads
//! nothing but objects. Everything else is filed under its number, newest first. The null version is in at most one place.

use base_types::{Fault, Timestamp};
use model_s3::Error;
use store_api::{Direction, Key, Tx};

use crate::{
    access::Found,
    error::{argument, no_key, no_version},
    ids,
    tables::{self, CURRENT, Id, NULL, Number, OLDER, SmallBytes, Version, Versioning},
};

/// A key of a bucket.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) found: &'a Found,
    pub(crate) key: &'a str,
}

/// What a deletion without a version did.
pub(crate) struct Deleted {
    /// The delete marker that was made.
    pub(crate) marker: Option<Version>,
    /// What was there, when it went for good.
    pub(crate) removed: Option<Version>,
}

impl<'a> Place<'a> {
    pub(crate) fn new(found: &'a Found, key: &'a str) -> Self {
        Self { found, key }
    }

    fn bucket(&self) -> Id {
        self.found.bucket.id
    }

    fn current_key(&self) -> Key {
        tables::current(self.bucket()).str(self.key)
    }

    fn older_key(&self) -> Key {
        tables::older(self.bucket()).str(self.key)
    }

    fn numbered(&self, number: u64) -> Key {
        self.older_key().descending(number)
    }

    /// Whether the bucket ever had versions: without, there is nothing but current ones.
    fn has_older(&self) -> bool {
        self.found.bucket.versioning.is_some()
    }

    /// The current version; `None` when there is none, or it is a delete marker.
    pub(crate) fn current(&self, tx: &Tx) -> Result<Option<Version>, Fault> {
        CURRENT.get(tx, &self.current_key())
    }

    /// The newest of the older ones.
    fn newest_older(&self, tx: &Tx) -> Result<Option<Version>, Fault> {
        if !self.has_older() {
            return Ok(None);
        }
        let found = OLDER.scan(tx, &self.older_key().prefix(), 1, Direction::Forward)?;
        Ok(found.into_iter().next().map(|(_, version)| version))
    }

    /// The delete marker that hides the key, if one does.
    pub(crate) fn hiding_marker(&self, tx: &Tx) -> Result<Option<Version>, Fault> {
        Ok(self.newest_older(tx)?.filter(|version| version.marker))
    }

    /// A version by its identifier; the current one without.
    ///
    /// # Errors
    /// AWS's for what is not there; a delete marker is given as it is.
    pub(crate) fn version(&self, tx: &Tx, id: Option<&str>) -> Result<Version, Error> {
        let Some(id) = id else {
            return match self.current(tx)? {
                Some(version) => Ok(version),
                None => Err(no_key(self.key)),
            };
        };
        if id == ids::NULL {
            return self.null(tx)?.ok_or_else(|| no_version(self.key, id));
        }
        let (number, identity) =
            ids::read_version(id).ok_or_else(|| argument("Invalid version id specified", "versionId", id))?;
        let current = self.current(tx)?.filter(|version| version.number == number);
        let found = match current {
            Some(version) => Some(version),
            None if self.has_older() => OLDER.get(tx, &self.numbered(number))?,
            None => None,
        };
        let found = found.filter(|version| version.id == identity && !version.null);
        found.ok_or_else(|| {
            if self.has_older() {
                no_version(self.key, id)
            } else {
                argument("Invalid version id specified", "versionId", id)
            }
        })
    }

    fn null(&self, tx: &Tx) -> Result<Option<Version>, Fault> {
        if let Some(version) = self.current(tx)?.filter(|version| version.null) {
            return Ok(Some(version));
        }
        match NULL.get(tx, &tables::null(self.bucket(), self.key))? {
            Some(Number { number }) => OLDER.get(tx, &self.numbered(number)),
            None => Ok(None),
        }
    }

    /// The number of the next version, greater than all before.
    fn next_number(&self, tx: &Tx, current: Option<&Version>) -> Result<u64, Fault> {
        let newest = self.newest_older(tx)?.map_or(0, |version| version.number);
        let greatest = newest.max(current.map_or(0, |version| version.number));
        Ok((tx.now().as_millis() << 8).max(greatest + 1))
    }

    /// The current version moves among the older ones, or goes when what comes takes its place.
    fn retire(&self, tx: &Tx, current: Option<Version>, replaced_by_null: bool) -> Result<Option<Version>, Fault> {
        if replaced_by_null && let Some(Number { number }) = NULL.get(tx, &tables::null(self.bucket(), self.key))? {
            let key = self.numbered(number);
            if let Some(null) = OLDER.get(tx, &key)? {
                tables::release_body(tx, &null)?;
                OLDER.remove(tx, &key)?;
            }
            NULL.remove(tx, &tables::null(self.bucket(), self.key))?;
        }
        let Some(current) = current else { return Ok(None) };
        if replaced_by_null && current.null {
            tables::release_body(tx, &current)?;
            return Ok(Some(current));
        }
        self.file(tx, &current)?;
        Ok(None)
    }

    /// Files a version among the older ones.
    fn file(&self, tx: &Tx, version: &Version) -> Result<(), Fault> {
        if version.null {
            NULL.put(tx, &tables::null(self.bucket(), self.key), &Number { number: version.number })?;
        }
        OLDER.put(tx, &self.numbered(version.number), version)
    }

    /// A new version becomes the current one. Its number is set here.
    pub(crate) fn put(&self, tx: &Tx, mut version: Version, small: Option<&SmallBytes>) -> Result<Version, Fault> {
        let current = self.current(tx)?;
        version.number = self.next_number(tx, current.as_ref())?;
        version.null = self.found.bucket.versioning != Some(Versioning::Enabled);
        match self.found.bucket.versioning {
            None => {
                if let Some(current) = &current {
                    tables::release_body(tx, current)?;
                }
            }
            Some(_) => drop(self.retire(tx, current, version.null)?),
        }
        tables::hold_body(tx, &version, small)?;
        CURRENT.put(tx, &self.current_key(), &version)?;
        Ok(version)
    }

    /// A version's record changes where it stands; its body stays.
    pub(crate) fn amend(&self, tx: &Tx, version: &Version) -> Result<(), Fault> {
        let current = self.current(tx)?;
        if current.is_some_and(|current| current.number == version.number) {
            CURRENT.put(tx, &self.current_key(), version)
        } else {
            OLDER.put(tx, &self.numbered(version.number), version)
        }
    }

    /// Deletes without naming a version: for good, or behind the marker `marker`.
    pub(crate) fn delete(&self, tx: &Tx, mut marker: Version) -> Result<Deleted, Fault> {
        let current = self.current(tx)?;
        let Some(versioning) = self.found.bucket.versioning else {
            if let Some(current) = &current {
                tables::release_body(tx, current)?;
                CURRENT.remove(tx, &self.current_key())?;
            }
            return Ok(Deleted { marker: None, removed: current });
        };
        marker.number = self.next_number(tx, current.as_ref())?;
        marker.null = versioning == Versioning::Suspended;
        marker.marker = true;
        let removed = self.retire(tx, current, marker.null)?;
        CURRENT.remove(tx, &self.current_key())?;
        self.file(tx, &marker)?;
        Ok(Deleted { marker: Some(marker), removed })
    }

    /// Removes one version for good; what is the newest then becomes the current one.
    pub(crate) fn remove(&self, tx: &Tx, version: &Version) -> Result<(), Fault> {
        tables::release_body(tx, version)?;
        let current = self.current(tx)?;
        let was_current = current.as_ref().is_some_and(|current| current.number == version.number);
        if was_current {
            CURRENT.remove(tx, &self.current_key())?;
        } else {
            OLDER.remove(tx, &self.numbered(version.number))?;
            if version.null {
                NULL.remove(tx, &tables::null(self.bucket(), self.key))?;
            }
        }
        if (was_current || current.is_none())
            && let Some(newest) = self.newest_older(tx)?.filter(|newest| !newest.marker)
        {
            OLDER.remove(tx, &self.numbered(newest.number))?;
            if newest.null {
                NULL.remove(tx, &tables::null(self.bucket(), self.key))?;
            }
            CURRENT.put(tx, &self.current_key(), &newest)?;
        }
        Ok(())
    }

    /// How a version is called in answers; `None` where the bucket never had versions.
    pub(crate) fn name_of(&self, version: &Version) -> Option<String> {
        self.has_older().then(|| name(version))
    }
}

/// A version's identifier.
pub(crate) fn name(version: &Version) -> String {
    if version.null { ids::NULL.to_owned() } else { ids::version(version.number, version.id) }
}

/// An empty version, to be filled.
pub(crate) fn blank(id: Id, owner: base_types::AccountId, now: Timestamp) -> Version {
    Version {
        id,
        number: 0,
        null: false,
        marker: false,
        modified: now,
        owner,
        size: 0,
        etag: String::new(),
        headers: tables::Headers::default(),
        metadata: Vec::new(),
        class: None,
        checksum: None,
        encryption: tables::Encryption::Own,
        body: tables::Body::Empty,
        tags: Vec::new(),
        acl: None,
        retention: None,
        legal_hold: None,
        redirect: None,
    }
}
