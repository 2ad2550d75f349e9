//! One transaction: reads see what it wrote itself, writes are buffered until its body returns.
//!
//! A body is a plain function over `&Tx`; it may be run again, so it must decide from what it reads and touch nothing
//! else. Nothing a body wrote is visible to anybody before it returned `Ok`; nothing at all leaves the store before
//! it is
//! durable. Every method fails only with a [`Fault`]; after a bound was hit the transaction cannot commit, even if the
//! body swallows the fault.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Bound,
};

use base_env::{Env, Moment};
use base_types::{Fault, FaultKind, Timestamp};
use bytes::Bytes;

use crate::{
    Appended, Bounds, Commit, Direction, Exceeded, Key, KeyRange, Lease, Position, Read, Reader,
    bounds::KEY_BYTES_MAX,
    commit::Hook,
    merge::{Layer, merge},
};

/// An open transaction. Shared by reference within its body; it never leaves the thread that runs it.
pub struct Tx {
    reader: Box<dyn Reader>,
    access: Access,
    env: Env,
    now: Timestamp,
    started: Moment,
    bounds: Bounds,
    buffer: RefCell<Buffer>,
    exceeded: Cell<Option<Exceeded>>,
    /// Reads and writes so far.
    steps: Cell<u32>,
}

/// The age is looked at with every so manieth read or write, and at the end.
const AGE_LOOKED_AT: u32 = 16;

/// Whether a transaction may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Write,
    /// It reads one consistent state and writes nothing.
    ReadOnly,
}

#[derive(Default)]
struct Buffer {
    writes: BTreeMap<Bytes, Write>,
    write_bytes: usize,
    reads: usize,
    read_bytes: usize,
    appends: Vec<(Key, Bytes, Appended)>,
    wakes: Vec<(Bytes, usize)>,
    hooks: Vec<Hook>,
}

#[derive(Clone)]
enum Write {
    Put(Bytes),
    Delete,
    /// To be added to the counter below.
    Add(i64),
}

impl Tx {
    /// For back-ends: opens a transaction over one consistent state.
    #[must_use]
    pub fn begin(reader: Box<dyn Reader>, access: Access, env: &Env, bounds: Bounds) -> Self {
        Self {
            reader,
            access,
            env: env.clone(),
            now: env.now(),
            started: env.monotonic(),
            bounds,
            buffer: RefCell::default(),
            exceeded: Cell::new(None),
            steps: Cell::new(0),
        }
    }

    /// The transaction's time: the same for its whole life.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// A fault of the store, or of a bound.
    pub fn get(&self, key: &Key) -> Result<Option<Bytes>, Fault> {
        self.read(key, Read::Validated)
    }

    /// The values of `keys`, in their order.
    ///
    /// # Errors
    /// As [`Tx::get`].
    pub fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Fault> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// As [`Tx::get`], but a concurrent change of the key never makes this transaction run again.
    ///
    /// # Errors
    /// As [`Tx::get`].
    pub fn snapshot_get(&self, key: &Key) -> Result<Option<Bytes>, Fault> {
        self.read(key, Read::Snapshot)
    }

    /// At most `limit` entries of `range`, in `direction`.
    ///
    /// # Errors
    /// A fault of the store, or of a bound.
    pub fn scan(&self, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<(Key, Bytes)>, Fault> {
        self.read_range(range, limit, direction, Read::Validated)
    }

    /// As [`Tx::scan`], but concurrent changes in the range never make this transaction run again.
    ///
    /// # Errors
    /// As [`Tx::scan`].
    pub fn snapshot_scan(
        &self,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Key, Bytes)>, Fault> {
        self.read_range(range, limit, direction, Read::Snapshot)
    }

    /// Takes up to `n` entries from the head of `range` that no other transaction is taking. Taking protects them until
    /// the commit; to take them away for good, delete or change them in this transaction.
    ///
    /// # Errors
    /// A fault of the store, or of a bound.
    pub fn claim(&self, range: &KeyRange, n: usize) -> Result<Vec<(Key, Bytes)>, Fault> {
        self.writable()?;
        self.read_range(range, n, Direction::Forward, Read::Claim)
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// A fault of a bound, or when the transaction is read-only.
    pub fn put(&self, key: &Key, value: impl Into<Bytes>) -> Result<(), Fault> {
        self.write(key, Write::Put(value.into()))
    }

    /// Removes `key`, whether or not it exists.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn delete(&self, key: &Key) -> Result<(), Fault> {
        self.write(key, Write::Delete)
    }

    /// Adds `n` to a counter (which begins at 0 and wraps at the ends of `i64`). Additions of concurrent transactions
    /// never conflict with each other.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn add(&self, key: &Key, n: i64) -> Result<(), Fault> {
        let write = match self.buffer.borrow().writes.get(key.as_bytes()) {
            None => Write::Add(n),
            Some(Write::Add(before)) => Write::Add(before.wrapping_add(n)),
            Some(Write::Put(value)) => Write::Put(encode_counter(decode_counter(value)?.wrapping_add(n))),
            Some(Write::Delete) => Write::Put(encode_counter(n)),
        };
        self.write(key, write)
    }

    /// The value of a counter; 0 if it was never added to.
    ///
    /// # Errors
    /// As [`Tx::get`], or when the key holds something else.
    pub fn counter(&self, key: &Key) -> Result<i64, Fault> {
        self.get(key)?.map_or(Ok(0), |value| decode_counter(&value))
    }

    /// Appends a record to the stream `stream` (any key, of [`Family::Stream`](crate::Family) by custom). Its
    /// position is known after the commit;
    /// until then the record is not visible, to this transaction neither.
    ///
    /// # Errors
    /// As [`Tx::put`].
    pub fn append(&self, stream: &Key, value: impl Into<Bytes>) -> Result<Appended, Fault> {
        let (value, handle) = (value.into(), Appended::default());
        self.writable()?;
        self.check_value(&value)?;
        let mut buffer = self.buffer.borrow_mut();
        self.charge_write(&mut buffer, stream.as_bytes().len() + 17, value.len())?;
        buffer.appends.push((stream.clone(), value, handle.clone()));
        Ok(handle)
    }

    /// At most `limit` records of `stream` behind `after`, oldest first.
    ///
    /// # Errors
    /// As [`Tx::scan`].
    pub fn read_stream(&self, stream: &Key, after: Position, limit: usize) -> Result<Vec<(Position, Bytes)>, Fault> {
        let range = stream.prefix().after(&stream.clone().position(after));
        let records = self.scan(&range, limit, Direction::Forward)?;
        records
            .into_iter()
            .map(|(key, value)| match key.parts()?.pop() {
                Some(crate::Part::Position(position)) => Ok((position, value)),
                _ => Err(crate::key::DamagedKey.into()),
            })
            .collect()
    }

    /// The position behind which nothing will ever appear that this transaction does not see.
    #[must_use]
    pub fn stable_position(&self) -> Position {
        self.reader.stable_position()
    }

    /// Lets this transaction commit only while `lease` is held.
    ///
    /// # Errors
    /// A fault of kind `Conflict` when the lease was lost, has expired or was released.
    pub fn require(&self, lease: &Lease) -> Result<(), Fault> {
        lease.check(self)
    }

    /// After the commit wakes at most `n` waiters of `topic`.
    ///
    /// # Errors
    /// When the transaction is read-only.
    pub fn wake(&self, topic: &Key, n: usize) -> Result<(), Fault> {
        self.writable()?;
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        self.buffer.borrow_mut().wakes.push((topic, n));
        Ok(())
    }

    /// Runs `hook` once the commit is durable and before anybody gets its answer: for caches that must never be older
    /// than an acknowledged change. Hooks of one store run one at a time, in the order of the commits.
    ///
    /// # Errors
    /// When the transaction is read-only.
    pub fn on_commit(&self, hook: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.writable()?;
        self.buffer.borrow_mut().hooks.push(Box::new(hook));
        Ok(())
    }

    /// How much this transaction has written so far: keys (appended records too) and bytes. For those who do within it
    /// what fits and leave the rest for later.
    #[must_use]
    pub fn written(&self) -> (usize, usize) {
        let buffer = self.buffer.borrow();
        (buffer.writes.len() + buffer.appends.len(), buffer.write_bytes)
    }

    /// For back-ends: what is to be committed.
    ///
    /// # Errors
    /// When a bound was hit at any time, or a counter turns out not to be one.
    pub fn into_commit(self) -> Result<Commit, Fault> {
        self.steps.set(0);
        self.check_age()?;
        if let Some(exceeded) = self.exceeded.get() {
            return Err(exceeded.into());
        }
        let Self { reader, now, buffer, .. } = self;
        let Buffer { writes, write_bytes, appends, wakes, hooks, .. } = buffer.into_inner();
        let mut resolved = Vec::with_capacity(writes.len() + appends.len());
        for (key, write) in writes {
            let value = match write {
                Write::Put(value) => Some(value),
                Write::Delete => None,
                Write::Add(n) => Some(added(reader.get(&key, Read::Snapshot)?.as_ref(), n)?),
            };
            resolved.push((key, value));
        }
        Ok(Commit { writes: resolved, appends, bytes: write_bytes, now, positions: Vec::new(), wakes, hooks })
    }

    fn read(&self, key: &Key, read: Read) -> Result<Option<Bytes>, Fault> {
        self.check_age()?;
        let own = self.buffer.borrow().writes.get(key.as_bytes()).cloned();
        let value = match own {
            Some(Write::Put(value)) => Some(value),
            Some(Write::Delete) => None,
            Some(Write::Add(n)) => Some(added(self.reader.get(key.as_bytes(), read)?.as_ref(), n)?),
            None => self.reader.get(key.as_bytes(), read)?,
        };
        self.charge_read(key.as_bytes().len() + value.as_ref().map_or(0, Bytes::len))?;
        Ok(value)
    }

    fn read_range(
        &self,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
        read: Read,
    ) -> Result<Vec<(Key, Bytes)>, Fault> {
        self.check_age()?;
        if range.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        let own = self.own_writes(range, direction)?;
        let stored = self.reader.scan(range, direction, read, limit.saturating_add(own.len()));
        let stored: Layer<'_> = Box::new(stored.map(|entry| entry.map(|(key, value)| (key, Some(value)))));
        let own: Layer<'_> = Box::new(own.into_iter().map(Ok));
        for entry in merge(vec![own, stored], direction).take(limit) {
            let (key, value) = entry?;
            self.charge_read(key.len() + value.len())?;
            self.check_age()?;
            entries.push((Key::from_encoded(&key), value));
        }
        Ok(entries)
    }

    /// The transaction's own writes in `range`, additions resolved, as the newest layer of a scan.
    fn own_writes(&self, range: &KeyRange, direction: Direction) -> Result<Vec<(Bytes, Option<Bytes>)>, Fault> {
        let mut own = Vec::new();
        let bounds = (Bound::Included(range.start()), Bound::Excluded(range.end()));
        for (key, write) in self.buffer.borrow().writes.range::<[u8], _>(bounds) {
            let value = match write {
                Write::Put(value) => Some(value.clone()),
                Write::Delete => None,
                Write::Add(n) => Some(added(self.reader.get(key, Read::Validated)?.as_ref(), *n)?),
            };
            own.push((key.clone(), value));
        }
        if direction == Direction::Reverse {
            own.reverse();
        }
        Ok(own)
    }

    fn write(&self, key: &Key, write: Write) -> Result<(), Fault> {
        self.check_age()?;
        self.writable()?;
        let value_bytes = match &write {
            Write::Put(value) => {
                self.check_value(value)?;
                value.len()
            }
            Write::Delete => 0,
            Write::Add(_) => 8,
        };
        if key.as_bytes().len() > KEY_BYTES_MAX {
            return Err(self.exceed(Exceeded::KeyBytes(KEY_BYTES_MAX)));
        }
        let mut buffer = self.buffer.borrow_mut();
        self.charge_write(&mut buffer, key.as_bytes().len(), value_bytes)?;
        buffer.writes.insert(Bytes::copy_from_slice(key.as_bytes()), write);
        Ok(())
    }

    fn writable(&self) -> Result<(), Fault> {
        match self.access {
            Access::Write => Ok(()),
            Access::ReadOnly => Err(Fault::new(FaultKind::Internal, "write in a read-only transaction")),
        }
    }

    fn check_value(&self, value: &Bytes) -> Result<(), Fault> {
        if value.len() > self.bounds.value_bytes {
            return Err(self.exceed(Exceeded::ValueBytes(self.bounds.value_bytes)));
        }
        Ok(())
    }

    fn check_age(&self) -> Result<(), Fault> {
        let steps = self.steps.get();
        self.steps.set(steps.wrapping_add(1));
        if steps.is_multiple_of(AGE_LOOKED_AT) && self.env.monotonic().since(self.started) > self.bounds.age {
            return Err(self.exceed(Exceeded::Age(self.bounds.age)));
        }
        Ok(())
    }

    fn charge_write(&self, buffer: &mut Buffer, key_bytes: usize, value_bytes: usize) -> Result<(), Fault> {
        buffer.write_bytes += key_bytes + value_bytes;
        if buffer.write_bytes > self.bounds.write_bytes {
            return Err(self.exceed(Exceeded::WriteBytes(self.bounds.write_bytes)));
        }
        if buffer.writes.len() + buffer.appends.len() >= self.bounds.writes {
            return Err(self.exceed(Exceeded::Writes(self.bounds.writes)));
        }
        Ok(())
    }

    fn charge_read(&self, bytes: usize) -> Result<(), Fault> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.reads += 1;
        buffer.read_bytes += bytes;
        if buffer.reads > self.bounds.reads {
            return Err(self.exceed(Exceeded::Reads(self.bounds.reads)));
        }
        if buffer.read_bytes > self.bounds.read_bytes {
            return Err(self.exceed(Exceeded::ReadBytes(self.bounds.read_bytes)));
        }
        Ok(())
    }

    fn exceed(&self, exceeded: Exceeded) -> Fault {
        self.exceeded.set(Some(exceeded));
        exceeded.into()
    }
}

fn encode_counter(n: i64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

fn decode_counter(value: &Bytes) -> Result<i64, Fault> {
    let bytes = <[u8; 8]>::try_from(&value[..])
        .map_err(|_| Fault::new(FaultKind::Internal, "read a counter: the key holds something else"))?;
    Ok(i64::from_be_bytes(bytes))
}

fn added(base: Option<&Bytes>, n: i64) -> Result<Bytes, Fault> {
    Ok(encode_counter(base.map_or(Ok(0), decode_counter)?.wrapping_add(n)))
}
