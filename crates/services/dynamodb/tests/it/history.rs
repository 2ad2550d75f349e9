//! Whether a history of transactions over lists that are only ever appended to can be explained by some serial order, as Elle
//! asks it. Pure.
//!
//! What a transaction read of a list tells which appends came before it and in which order; so all dependencies are known:
//! who wrote before whom (ww), who read from whom (wr), who read before whom wrote (rw). A history is serialisable if and only
//! if no cycle leads through them; strictly so if real time (who ended before whom began) closes none either.

use std::collections::{BTreeMap, BTreeSet};

/// A transaction as its client saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    /// Lists that it read, whole.
    pub(crate) reads: Vec<(u32, Vec<u64>)>,
    /// What it appended; every element is appended once in a history.
    pub(crate) appends: Vec<(u32, u64)>,
    /// When it began and ended, by one clock.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// Whether it is known to have been committed; an unknown one counts when somebody read it.
    pub(crate) known: bool,
}

/// Why a history cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Anomaly {
    /// Somebody read what nobody wrote, or what failed.
    Phantom(u64),
    /// Two reads of a list disagree on its order.
    Fork(u32),
    /// What was acknowledged is not in the list.
    Lost(u64),
    /// A transaction's own appends are torn: one is read, another is not.
    Torn(u64),
    /// A cycle of transactions, by their numbers.
    Cycle(Vec<usize>),
}

/// Checks a history whose lists ended as `last`.
pub(crate) fn check(history: &[Transaction], last: &BTreeMap<u32, Vec<u64>>) -> Result<(), Anomaly> {
    let mut writers = BTreeMap::new();
    for (number, transaction) in history.iter().enumerate() {
        for (list, element) in &transaction.appends {
            writers.insert(*element, (*list, number));
        }
    }
    let empty = Vec::new();
    let of = |list: &u32| last.get(list).unwrap_or(&empty);
    for (list, elements) in last {
        for element in elements {
            if writers.get(element).is_none_or(|(written, _)| written != list) {
                return Err(Anomaly::Phantom(*element));
            }
        }
    }
    for transaction in history {
        for (list, elements) in &transaction.reads {
            if !of(list).starts_with(elements) {
                return Err(Anomaly::Fork(*list));
            }
        }
        let there: Vec<bool> = transaction.appends.iter().map(|(list, element)| of(list).contains(element)).collect();
        for ((_, element), there) in transaction.appends.iter().zip(&there) {
            if transaction.known && !there {
                return Err(Anomaly::Lost(*element));
            }
        }
        if there.contains(&true) && there.contains(&false) {
            return Err(Anomaly::Torn(transaction.appends[0].1));
        }
    }
    let edges = edges(history, last, &writers);
    cycle(&edges).map_or(Ok(()), |cycle| Err(Anomaly::Cycle(cycle)))
}

fn edges(
    history: &[Transaction],
    last: &BTreeMap<u32, Vec<u64>>,
    writers: &BTreeMap<u64, (u32, usize)>,
) -> Vec<BTreeSet<usize>> {
    let mut edges = vec![BTreeSet::new(); history.len()];
    let mut add = |from: usize, to: usize| {
        if from != to {
            edges[from].insert(to);
        }
    };
    let writer = |element: &u64| writers.get(element).map(|(_, number)| *number);
    for elements in last.values() {
        for pair in elements.windows(2) {
            if let [before, after] = pair
                && let (Some(before), Some(after)) = (writer(before), writer(after))
            {
                add(before, after);
            }
        }
    }
    let empty = Vec::new();
    for (number, transaction) in history.iter().enumerate() {
        for (list, elements) in &transaction.reads {
            if let Some(from) = elements.last().and_then(writer) {
                add(from, number);
            }
            if let Some(next) = last.get(list).unwrap_or(&empty).get(elements.len()).and_then(writer) {
                add(number, next);
            }
        }
    }
    // Real time: behind the last that ended before it began, and so behind all before that. Of those that are known.
    let mut ended: Vec<usize> = (0..history.len()).filter(|number| history[*number].known).collect();
    ended.sort_by_key(|number| history[*number].ended);
    for (number, transaction) in history.iter().enumerate() {
        let before = ended.partition_point(|other| history[*other].ended < transaction.began);
        let window = ended[..before].iter().rev().take_while(|other| {
            // Whoever began before the last of them ended is not yet behind it.
            ended[..before].last().is_none_or(|last| history[**other].ended >= history[*last].began)
        });
        window.for_each(|other| add(*other, number));
    }
    edges
}

/// A cycle, if there is one (depth first, without recursion).
fn cycle(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut state = vec![0_u8; edges.len()];
    for start in 0..edges.len() {
        let mut path = vec![(start, edges[start].iter())];
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        while let Some((node, rest)) = path.last_mut() {
            match rest.next() {
                Some(next) if state[*next] == 1 => {
                    let nodes: Vec<usize> = path.iter().map(|(node, _)| *node).collect();
                    let begin = nodes.iter().position(|node| node == next)?;
                    return Some(nodes[begin..].to_vec());
                }
                Some(next) if state[*next] == 0 => {
                    state[*next] = 1;
                    path.push((*next, edges[*next].iter()));
                }
                Some(_) => {}
                None => {
                    state[*node] = 2;
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(reads: &[(u32, &[u64])], appends: &[(u32, u64)], began: u64, ended: u64) -> Transaction {
        Transaction {
            reads: reads.iter().map(|(list, elements)| (*list, elements.to_vec())).collect(),
            appends: appends.to_vec(),
            began,
            ended,
            known: true,
        }
    }

    fn lists(all: &[(u32, &[u64])]) -> BTreeMap<u32, Vec<u64>> {
        all.iter().map(|(list, elements)| (*list, elements.to_vec())).collect()
    }

    #[test]
    fn a_serial_history_is_one() {
        let history = [
            transaction(&[(1, &[])], &[(1, 10), (2, 20)], 0, 1),
            transaction(&[(1, &[10])], &[(1, 11)], 2, 3),
            transaction(&[(1, &[10, 11]), (2, &[20])], &[], 4, 5),
        ];
        assert_eq!(check(&history, &lists(&[(1, &[10, 11]), (2, &[20])])), Ok(()));
    }

    #[test]
    fn anomalies_are_found() {
        // Write skew: each read what the other was about to change.
        let skew = [
            transaction(&[(1, &[]), (2, &[])], &[(1, 10)], 0, 9),
            transaction(&[(1, &[]), (2, &[])], &[(2, 20)], 0, 9),
        ];
        assert!(matches!(check(&skew, &lists(&[(1, &[10]), (2, &[20])])), Err(Anomaly::Cycle(_))));
        // A fractured read: the one list before, the other after.
        let fractured = [transaction(&[], &[(1, 10), (2, 20)], 0, 9), transaction(&[(1, &[10]), (2, &[])], &[], 0, 9)];
        assert!(matches!(check(&fractured, &lists(&[(1, &[10]), (2, &[20])])), Err(Anomaly::Cycle(_))));
        // A stale read: serialisable, but not in real time.
        let stale = [transaction(&[], &[(1, 10)], 0, 1), transaction(&[(1, &[])], &[], 2, 3)];
        assert!(matches!(check(&stale, &lists(&[(1, &[10])])), Err(Anomaly::Cycle(_))));
        let lost = [transaction(&[], &[(1, 10)], 0, 1)];
        assert_eq!(check(&lost, &lists(&[(1, &[])])), Err(Anomaly::Lost(10)));
        let mut torn = [transaction(&[], &[(1, 10), (2, 20)], 0, 1)];
        torn[0].known = false;
        assert_eq!(check(&torn, &lists(&[(1, &[10])])), Err(Anomaly::Torn(10)));
        assert_eq!(check(&[], &lists(&[(1, &[10])])), Err(Anomaly::Phantom(10)));
        let fork = [transaction(&[], &[(1, 10)], 0, 1), transaction(&[(1, &[11])], &[(1, 11)], 0, 9)];
        assert_eq!(check(&fork, &lists(&[(1, &[10, 11])])), Err(Anomaly::Fork(1)));
    }
}
