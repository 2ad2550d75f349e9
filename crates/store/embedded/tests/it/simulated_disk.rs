//! A disk in memory that forgets what was not synced, and can be full or fail.
//!
//! What a power cut leaves: of each file the synced bytes, and of every later write each 512-byte sector or not, as
//! the seed says; of each
//! directory the synced names, and each later change of a name or not. That is more hostile than any real file system.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use parking_lot::Mutex;
use store_embedded::{Disk, DiskFile};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    directories: BTreeSet<String>,
    durable_names: BTreeMap<String, u64>,
    durable_directories: BTreeSet<String>,
    changes: Vec<(String, Change)>,
    next: u64,
    operations: u64,
    /// The power goes at this operation.
    cut_at: Option<u64>,
    capacity: Option<u64>,
    syncs_fail: bool,
}

#[derive(Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

/// A change of a name in a directory.
#[derive(Debug)]
enum Change {
    Set(String, u64),
    Unset(String),
    Rename(String, String, u64),
    Directory(String),
}

impl SimulatedDisk {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::default())))
    }

    /// Lets the power go after `operations` more.
    pub(crate) fn cut_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.cut_at = Some(state.operations + operations);
    }

    /// Bounds the bytes of all files together; `None`: no bound.
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.0.lock().capacity = capacity;
    }

    pub(crate) fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// From now on no sync succeeds.
    pub(crate) fn fail_syncs(&self) {
        self.0.lock().syncs_fail = true;
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The disk that the power cut leaves; `chance` decides about each thing that was not synced.
    pub(crate) fn after_power_cut(&self, mut chance: impl FnMut() -> bool) -> Self {
        let mut state = self.0.lock();
        // Whoever still holds the old disk gets nothing done on it any more.
        state.cut_at = Some(0);
        let mut files = BTreeMap::new();
        for (id, content) in &state.files {
            let mut bytes = content.durable.clone();
            for write in &content.unsynced {
                match write {
                    Write::Length(length) => {
                        if chance() {
                            bytes.resize(*length as usize, 0);
                        }
                    }
                    Write::Bytes(offset, written) => {
                        let mut at = 0;
                        while at < written.len() {
                            let start = *offset as usize + at;
                            let part = (SECTOR - start % SECTOR).min(written.len() - at);
                            if chance() {
                                put(&mut bytes, start, &written[at..at + part]);
                            }
                            at += part;
                        }
                    }
                }
            }
            files.insert(*id, Content { durable: bytes.clone(), live: bytes, unsynced: Vec::new() });
        }
        let (mut names, mut directories) = (state.durable_names.clone(), state.durable_directories.clone());
        for (_, change) in &state.changes {
            if chance() {
                apply(change, &mut names, &mut directories);
            }
        }
        // What lies in a directory that is lost is lost.
        names.retain(|name, _| parents(name).all(|parent| directories.contains(parent)));
        let next = state.next;
        let state = State {
            files,
            durable_names: names.clone(),
            durable_directories: directories.clone(),
            names,
            directories,
            next,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}

fn apply(change: &Change, names: &mut BTreeMap<String, u64>, directories: &mut BTreeSet<String>) {
    match change {
        Change::Set(name, id) => drop(names.insert(name.clone(), *id)),
        Change::Unset(name) => drop(names.remove(name)),
        Change::Rename(from, to, id) => {
            if names.get(from) == Some(id) {
                names.remove(from);
            }
            names.insert(to.clone(), *id);
        }
        Change::Directory(name) => drop(directories.insert(name.clone())),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(parent(path)), |path| Some(parent(path))).take_while(|path| !path.is_empty())
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.cut_at.is_some_and(|cut| self.operations > cut) {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.files.values().map(|content| content.live.len() as u64).sum()
    }

    fn change(&mut self, directory: &str, change: Change) {
        apply(&change, &mut self.names, &mut self.directories);
        self.changes.push((directory.to_owned(), change));
    }

    fn room(&self, id: u64, length: u64) -> io::Result<()> {
        let grown = length.saturating_sub(self.files[&id].live.len() as u64);
        if self.capacity.is_some_and(|capacity| self.used() + grown > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.operate()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !parents(path).all(|parent| state.directories.contains(parent)) {
            return Err(not_found());
        }
        state.next += 1;
        let id = state.next;
        state.files.insert(id, Content::default());
        state.change(parent(path), Change::Set(path.to_owned(), id));
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.operate()?;
        let id = *state.names.get(path).ok_or_else(not_found)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        assert_eq!(parent(from), parent(to), "a file moves only within its directory here");
        let id = *state.names.get(from).ok_or_else(not_found)?;
        state.change(parent(to), Change::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        if !state.names.contains_key(path) {
            return Err(not_found());
        }
        state.change(parent(path), Change::Unset(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let all: Vec<String> = std::iter::once(path).chain(parents(path)).map(str::to_owned).collect();
        for directory in all.into_iter().rev() {
            if !state.directories.contains(&directory) {
                let within = parent(&directory).to_owned();
                state.change(&within, Change::Directory(directory));
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.operate()?;
        if !path.is_empty() && !state.directories.contains(path) {
            return Err(not_found());
        }
        let all = state.names.keys().chain(&state.directories).filter(|name| parent(name) == path);
        let mut names: Vec<String> = all.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let changes = std::mem::take(&mut state.changes);
        let (mine, others) = changes.into_iter().partition::<Vec<_>, _>(|(directory, _)| directory == path);
        state.changes = others;
        let (mut names, mut directories) = (state.durable_names.clone(), state.durable_directories.clone());
        mine.iter().for_each(|(_, change)| apply(change, &mut names, &mut directories));
        (state.durable_names, state.durable_directories) = (names, directories);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl SimulatedFile {
    fn with<R>(&self, act: impl FnOnce(&mut Content) -> R) -> R {
        let mut state = self.disk.0.lock();
        act(state.files.get_mut(&self.id).unwrap())
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.0.lock().operate()?;
        Ok(self.with(|content| content.live.len() as u64))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.0.lock().operate()?;
        self.with(|content| {
            let found = content.live.get(offset as usize..offset as usize + bytes.len());
            found.map(|found| bytes.copy_from_slice(found)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = {
            let mut state = self.disk.0.lock();
            state.operate()?;
            state.room(self.id, offset + bytes.len() as u64)
        };
        // A full disk takes a part before it says so.
        let bytes = if room.is_ok() { bytes } else { &bytes[..0] };
        self.with(|content| {
            if !bytes.is_empty() {
                put(&mut content.live, offset as usize, bytes);
                content.unsynced.push(Write::Bytes(offset, bytes.to_vec()));
            }
        });
        room
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        {
            let mut state = self.disk.0.lock();
            state.operate()?;
            state.room(self.id, length)?;
        }
        self.with(|content| {
            content.live.resize(length as usize, 0);
            content.unsynced.push(Write::Length(length));
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.disk.0.lock();
            state.operate()?;
            if state.syncs_fail {
                return Err(io::Error::other("input/output error"));
            }
        }
        self.with(|content| {
            for write in content.unsynced.drain(..) {
                match write {
                    Write::Length(length) => content.durable.resize(length as usize, 0),
                    Write::Bytes(offset, bytes) => put(&mut content.durable, offset as usize, &bytes),
                }
            }
        });
        Ok(())
    }
}
