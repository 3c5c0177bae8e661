//! An Aho-Corasick automaton over bytes as a double array: 16 bytes a state, 1.7 MB for 105,000 states, where the dense
//! table that it is made from has 39 MB.

use crate::Error;

/// Marks a state from which only the root's table leads on.
const ROOT: u32 = u32::MAX;
/// Labels that equal no byte: of a free slot, and of the root and its children.
const FREE: u32 = 256;
const TOP: u32 = 257;

/// One state. The child by byte b stands at `base ^ b` if that slot's label is b; a base belongs to one state only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Where the children stand. A state without children has the base of the first state on its failure chain that
    /// has some, so that no step is lost on leaves.
    pub base: u32,
    /// The state to go on from where no child fits.
    pub fail: u32,
    /// The n-gram that ends here, or the number of n-grams where none does.
    pub feature: u32,
    /// The byte that leads here.
    pub label: u32,
}

/// The automaton. Every index in it is below `states.len()`: `Automaton::new` has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automaton {
    root: Vec<u32>,
    states: Vec<State>,
    /// Bytes of the longest n-gram: what the automaton remembers.
    depth: usize,
}

/// The same automaton as rows of 256 states: state s goes by byte b to `rows[row[s] * 256 + b]`.
pub struct Dense<'a> {
    /// The distinct rows.
    pub rows: &'a [u32],
    /// The row of each state.
    pub row: &'a [u32],
    /// The n-gram that ends in each state, -1 for none.
    pub feature: &'a [i32],
}

impl Dense<'_> {
    fn go(&self, state: usize, byte: usize) -> usize {
        self.rows[self.row[state] as usize * 256 + byte] as usize
    }
}

impl Automaton {
    /// An automaton from its parts; an error where an index leads outside.
    pub fn new(
        root: Vec<u32>,
        states: Vec<State>,
        depth: usize,
        features: usize,
    ) -> Result<Self, Error> {
        let inside = |state: &State| {
            (state.base == ROOT || (state.base | 255) < states.len() as u32)
                && (state.fail as usize) < states.len()
                && state.feature as usize <= features
        };
        let sound = root.len() == 256
            && root.iter().all(|&state| (state as usize) < states.len())
            && states.first().is_some_and(|first| first.base == ROOT)
            && states.iter().all(inside);
        if !sound {
            return Err(Error::Model("its automaton leads nowhere".into()));
        }
        Ok(Self {
            root,
            states,
            depth,
        })
    }

    /// The compact form of a dense automaton; an error where the dense one is no Aho-Corasick automaton.
    pub fn build(dense: &Dense<'_>, features: usize) -> Result<Self, Error> {
        let count = dense.row.len();
        // The tree: the first way by which breadth-first search comes to a state is its shortest, its own n-gram.
        let (mut depth, mut parent, mut label) =
            (vec![usize::MAX; count], vec![0; count], vec![0; count]);
        let (mut queue, mut children) = (vec![0], vec![Vec::new(); count]);
        depth[0] = 0;
        let mut next = 0;
        while let Some(&state) = queue.get(next) {
            next += 1;
            for byte in 0..256 {
                let child = dense.go(state, byte);
                if depth[child] == usize::MAX {
                    depth[child] = depth[state] + 1;
                    (parent[child], label[child]) = (state, byte);
                    children[state].push(byte);
                    queue.push(child);
                }
            }
        }
        let mut fail = vec![0; count];
        for &state in &queue[1..] {
            if depth[state] > 1 {
                fail[state] = dense.go(fail[parent[state]], label[state]);
            }
        }
        let (base, slot, slots) = place(dense, &queue, &children, &depth);
        let with_children = |mut state: usize| {
            while state != 0 && children[state].is_empty() {
                state = fail[state];
            }
            state
        };
        let free = State {
            base: ROOT,
            fail: 0,
            feature: features as u32,
            label: FREE,
        };
        let mut states = vec![free; slots];
        for &state in &queue {
            let from = with_children(state);
            states[slot[state] as usize] = State {
                base: if from == 0 { ROOT } else { base[from] },
                fail: slot[with_children(fail[from])],
                feature: u32::try_from(dense.feature[state]).unwrap_or(features as u32),
                label: if depth[state] < 2 {
                    TOP
                } else {
                    label[state] as u32
                },
            };
        }
        let root = (0..256).map(|byte| slot[dense.go(0, byte)]).collect();
        let longest = queue.iter().map(|&state| depth[state]).max();
        let built = Self::new(root, states, longest.unwrap_or(0), features)?;
        let same = |&state: &usize| {
            (0..=255u8).all(|byte| {
                built.step(slot[state], byte) == slot[dense.go(state, usize::from(byte))]
            })
        };
        if queue.len() == count && queue.iter().all(same) {
            Ok(built)
        } else {
            Err(Error::Model(
                "its automaton is not of the Aho-Corasick kind".into(),
            ))
        }
    }

    /// The state after one more byte.
    #[inline]
    pub fn step(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            let State { base, fail, .. } = self.states[state as usize];
            if base == ROOT {
                return self.root[usize::from(byte)];
            }
            let child = base ^ u32::from(byte);
            if self.states[child as usize].label == u32::from(byte) {
                return child;
            }
            state = fail;
        }
    }

    /// The n-gram that ends in a state, or the number of n-grams.
    #[inline]
    pub fn feature(&self, state: u32) -> u32 {
        self.states[state as usize].feature
    }

    /// Bytes of the longest n-gram.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The root's table and the states.
    pub fn parts(&self) -> (&[u32], &[State]) {
        (&self.root, &self.states)
    }
}

/// Where each state's children stand, where each state stands, and how many slots there are.
///
/// States with many children choose first, shallow ones before deep ones, so that the states that texts visit most
/// stand close together.
fn place(
    dense: &Dense<'_>,
    queue: &[usize],
    children: &[Vec<usize>],
    depth: &[usize],
) -> (Vec<u32>, Vec<u32>, usize) {
    let count = children.len();
    let (mut base, mut slot) = (vec![0u32; count], vec![0u32; count]);
    // The root stands at 0 and its children after it, by byte.
    let mut taken = vec![true; 257];
    let mut based = vec![true; 257];
    for &byte in &children[0] {
        slot[dense.go(0, byte)] = 1 + byte as u32;
    }
    let mut order: Vec<usize> = queue.to_vec();
    order.retain(|&state| state != 0 && !children[state].is_empty());
    order.sort_by_key(|&state| {
        (
            depth[state].min(2),
            std::cmp::Reverse(children[state].len()),
        )
    });
    let mut lowest = 257;
    for state in order {
        while taken.get(lowest) == Some(&true) {
            lowest += 1;
        }
        let mut at = lowest;
        loop {
            // A base and the 255 slots that it reaches stand in one block of 256.
            taken.resize(taken.len().max((at | 255) + 1), false);
            based.resize(taken.len(), false);
            let chosen = at ^ children[state][0];
            let free = |byte: &usize| !taken[chosen ^ byte];
            if !based[chosen] && children[state].iter().all(free) {
                based[chosen] = true;
                base[state] = chosen as u32;
                for &byte in &children[state] {
                    taken[chosen ^ byte] = true;
                    slot[dense.go(state, byte)] = (chosen ^ byte) as u32;
                }
                break;
            }
            at += 1;
        }
    }
    (base, slot, taken.len().next_multiple_of(256))
}
