//! What both stages need to know of a page before they look at a block: shapes, sums, repetition, distances.

use crate::features::groups::Repeated;
use crate::features::shape::{Shape, Words, measure};
use crate::features::{flag, share};
use crate::hash::{Numbers, Owners, shingle};
use crate::linear::Linear;
use crate::page::{NONE, Node, Page};
use crate::tags::context;

/// A good block has at least this many characters, less than this share of links, and punctuation.
const GOOD_CHARS: f32 = 60.0;
const GOOD_LINK_SHARE: f32 = 0.34;
/// Distances in blocks are cut off here.
const FAR: f32 = 99.0;
/// Ancestors that are looked at: those that cover more blocks than the one below.
pub const LEVELS: usize = 6;
/// Shingles that are remembered of a page; on a page of more, later ones count as unique.
const MAX_SHINGLES: usize = 1 << 19;
/// A block of fewer words is its own shingle.
const SHINGLE_WORDS: usize = 6;
/// Where less of a page's words has a weight, its language is none that was trained on. (English pages know .6 and more
/// of their words, German ones .7, Polish ones .2 to .4, Russian ones .1 to .3, Greek ones .1.)
const KNOWN_LANGUAGE: f32 = 0.4;

/// Sums over the blocks before a place; a range is a difference of two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub chars: f32,
    pub links: f32,
    pub good: f32,
    pub short: f32,
    pub paragraphs: f32,
    pub digits: f32,
}

impl Sums {
    fn minus(self, other: Self) -> Self {
        Self {
            chars: self.chars - other.chars,
            links: self.links - other.links,
            good: self.good - other.good,
            short: self.short - other.short,
            paragraphs: self.paragraphs - other.paragraphs,
            digits: self.digits - other.digits,
        }
    }
}

/// Learned weights from the root down to a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PathWeight {
    pub sum: f32,
    pub min: f32,
    pub max: f32,
}

/// Blocks with one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub blocks: f32,
    pub chars: f32,
    pub links: f32,
    pub good: f32,
    pub first: u32,
    pub last: u32,
}

/// What was measured of a page, block by block; the second stage reads it too. Buffers are kept from page to page.
#[derive(Default)]
pub struct Measured {
    /// Shapes of the blocks.
    pub shapes: Vec<Shape>,
    /// Their words.
    pub words: Words,
    /// Nodes above each block that cover more blocks than the one below; the last is repeated.
    pub levels: Vec<[u32; LEVELS]>,
    /// Number of each block's path among the page's.
    pub paths: Vec<u32>,
    /// Number of each block's path of elements alone, without classes and ids, among the page's.
    pub element_paths: Vec<u32>,
    /// Number of each block's element signature among the page's.
    pub signatures: Vec<u32>,
    /// The last heading before each block, or NONE.
    pub headings: Vec<u32>,
    /// Share of the blocks' first words that have a weight: low where the page's language was hardly trained on.
    pub known_words: f32,
    pub(super) good: Vec<f32>,
    pub(super) sums: Vec<Sums>,
    pub(super) path_weights: Vec<PathWeight>,
    pub(super) word_weights: Vec<f32>,
    pub(super) repeated: Vec<Repeated>,
    pub(super) groups: Vec<Group>,
    pub(super) same_element: Vec<(f32, f32)>,
    pub(super) same_text: Vec<f32>,
    pub(super) same_first_word: Vec<f32>,
    pub(super) texts: Vec<u32>,
    pub(super) first_words: Vec<u32>,
    pub(super) since_good: Vec<f32>,
    pub(super) until_good: Vec<f32>,
    pub(super) since_heading: Vec<f32>,
    numbers: Numbers,
    owners: Owners,
}

impl Measured {
    /// Measures every block of the page.
    pub fn measure(&mut self, page: &Page, linear: &Linear) {
        self.words.clear();
        self.shapes.clear();
        for block in 0..page.blocks.len() {
            let shape = measure(page.bytes(block), &mut self.words);
            self.shapes.push(shape);
        }
        self.sum(page);
        self.weigh(page, linear);
        self.group(page);
        self.find_repeated(page.blocks.len());
        self.find_distances(page);
        self.levels.clear();
        self.levels
            .extend((0..page.blocks.len()).map(|block| levels(page, block)));
    }

    fn sum(&mut self, page: &Page) {
        self.good.clear();
        self.sums.clear();
        let mut sums = Sums::default();
        self.sums.push(sums);
        for (block, shape) in page.blocks.iter().zip(&self.shapes) {
            let links = (block.link_bytes as f32 / block.text.len() as f32).min(1.0);
            let is_good = shape.chars >= GOOD_CHARS
                && links < GOOD_LINK_SHARE
                && shape.sentences + shape.commas >= 1.0;
            let good = if is_good { shape.chars } else { 0.0 };
            self.good.push(good);
            sums.chars += shape.chars;
            sums.links += shape.chars * links;
            sums.good += good;
            sums.short += flag(shape.chars < 25.0);
            sums.paragraphs += flag(block.context & context::PARAGRAPH != 0);
            sums.digits += shape.digits;
            self.sums.push(sums);
        }
    }

    fn weigh(&mut self, page: &Page, linear: &Linear) {
        self.path_weights.clear();
        for node in &page.nodes {
            let above = match node.parent {
                NONE => PathWeight::default(),
                parent => self.path_weights[parent as usize],
            };
            let mut weight = above;
            weight.sum += linear.name(node.tag.token());
            for &token in page.tokens_of(node) {
                let name = linear.name(token);
                weight.sum += name;
                weight.min = weight.min.min(name);
                weight.max = weight.max.max(name);
            }
            self.path_weights.push(weight);
        }
        let first = &self.words.first;
        let known = first
            .iter()
            .filter(|&&word| linear.word(word).is_some())
            .count();
        self.known_words = share(known as f32, first.len() as f32);
        self.word_weights.clear();
        let (words, known) = (&self.words, self.knows_language());
        self.word_weights.extend(self.shapes.iter().map(|shape| {
            let first = &words.first[shape.first.0 as usize..shape.first.1 as usize];
            let own = first.iter().filter_map(|&word| linear.word(word));
            if known { own.sum::<f32>() } else { 0.0 }
        }));
    }

    /// The weight of a word on this page; None where the table does not hold it, and in an unknown language.
    #[inline]
    pub(super) fn word(&self, linear: &Linear, word: u32) -> Option<f32> {
        linear.word(word).filter(|_| self.knows_language())
    }

    /// Whether the page is in a language that was trained on. What the model knows of a page in another one are
    /// numbers and names: it is read without words, as a part of the pages is in training.
    #[inline]
    pub fn knows_language(&self) -> bool {
        self.known_words >= KNOWN_LANGUAGE
    }

    /// Which part of a block's first words is among `words`, and which part of those it has.
    pub fn like(&self, block: usize, words: &[u32]) -> (f32, f32) {
        let shape = &self.shapes[block];
        let own = &self.words.first[shape.first.0 as usize..shape.first.1 as usize];
        let shared = own.iter().filter(|word| words.contains(word)).count() as f32;
        (
            shared / (own.len() as f32 + 0.5),
            shared / (words.len() as f32 + 0.5),
        )
    }

    /// Numbers the blocks' paths, elements, texts and first words, and adds up what is equal.
    fn group(&mut self, page: &Page) {
        let n = page.blocks.len();
        let numbers = &mut self.numbers;
        let mut number = |keys: &mut dyn Iterator<Item = u32>, into: &mut Vec<u32>| {
            numbers.reset(n);
            into.clear();
            into.extend(keys.map(|key| numbers.number(key).0));
            numbers.len()
        };
        let mut elements: Vec<u32> = Vec::with_capacity(page.nodes.len());
        for node in &page.nodes {
            let above = elements.get(node.parent as usize).copied().unwrap_or(0);
            elements.push(above.rotate_left(5).wrapping_mul(0x9e37_79b1) ^ node.tag.token());
        }
        let of_blocks = page.blocks.iter().map(|block| block.node as usize);
        number(
            &mut of_blocks.map(|node| elements[node]),
            &mut self.element_paths,
        );
        let nodes = || (0..n).map(|block| page.node_of(block));
        let n_paths = number(&mut nodes().map(|node| node.path), &mut self.paths);
        let n_elements = number(
            &mut nodes().map(|node| node.signature),
            &mut self.signatures,
        );
        let n_texts = number(
            &mut self.shapes.iter().map(|shape| shape.hash),
            &mut self.texts,
        );
        let n_words = number(
            &mut self.shapes.iter().map(|shape| shape.first_word),
            &mut self.first_words,
        );
        reset(&mut self.groups, n_paths);
        reset(&mut self.same_element, n_elements);
        reset(&mut self.same_text, n_texts);
        reset(&mut self.same_first_word, n_words);
        for (block, shape) in self.shapes.iter().enumerate() {
            let group = &mut self.groups[self.paths[block] as usize];
            if group.blocks == 0.0 {
                group.first = block as u32;
            }
            group.last = block as u32;
            group.blocks += 1.0;
            group.chars += shape.chars;
            group.links += page.blocks[block].link_bytes as f32;
            group.good += self.good[block];
            let element = &mut self.same_element[self.signatures[block] as usize];
            *element = (element.0 + 1.0, element.1 + shape.chars);
            self.same_text[self.texts[block] as usize] += 1.0;
            self.same_first_word[self.first_words[block] as usize] += 1.0;
        }
    }

    /// Word 5-grams that stand in two blocks; a block of less than six words counts as a whole.
    fn find_repeated(&mut self, n: usize) {
        let owners = &mut self.owners;
        owners.reset((self.words.all.len() + n).min(MAX_SHINGLES));
        reset(&mut self.repeated, n);
        let all = &self.words.all;
        let words = |shape: &Shape| &all[shape.all.0 as usize..shape.all.1 as usize];
        let short = |shape: &Shape| shape.hash ^ 0x51ed_270b;
        for (block, shape) in self.shapes.iter().enumerate() {
            let words = words(shape);
            self.repeated[block].earlier = if words.len() < SHINGLE_WORDS {
                flag(owners.seen_before(short(shape), block as u32))
            } else {
                let shingles = words.windows(5).map(shingle);
                let seen = shingles
                    .filter(|&s| owners.seen_before(s, block as u32))
                    .count();
                seen as f32 / (words.len() - 4) as f32
            };
        }
        for (block, shape) in self.shapes.iter().enumerate() {
            let words = words(shape);
            self.repeated[block].anywhere = if words.len() < SHINGLE_WORDS {
                flag(owners.shared(short(shape)))
            } else {
                let shared = words
                    .windows(5)
                    .filter(|w| owners.shared(shingle(w)))
                    .count();
                shared as f32 / (words.len() - 4) as f32
            };
        }
    }

    fn find_distances(&mut self, page: &Page) {
        let n = page.blocks.len();
        self.since_good.clear();
        self.since_heading.clear();
        self.headings.clear();
        let (mut good, mut heading, mut last_heading) = (FAR, FAR, NONE);
        for (block, &chars) in self.good.iter().enumerate() {
            self.since_good.push(good);
            self.since_heading.push(heading);
            self.headings.push(last_heading);
            good = if chars > 0.0 {
                1.0
            } else {
                (good + 1.0).min(FAR)
            };
            if page.blocks[block].context & context::HEADING != 0 {
                (heading, last_heading) = (1.0, block as u32);
            } else {
                heading = (heading + 1.0).min(FAR);
            }
        }
        reset(&mut self.until_good, n);
        let mut good = FAR;
        for block in (0..n).rev() {
            self.until_good[block] = good;
            good = if self.good[block] > 0.0 {
                1.0
            } else {
                (good + 1.0).min(FAR)
            };
        }
    }

    pub(super) fn between(&self, blocks: std::ops::Range<usize>) -> Sums {
        self.sums[blocks.end].minus(self.sums[blocks.start])
    }

    pub(super) fn within(&self, node: &Node) -> Sums {
        self.between(node.blocks.start as usize..node.blocks.end as usize)
    }
}

fn reset<T: Clone + Default>(values: &mut Vec<T>, n: usize) {
    values.clear();
    values.resize(n, T::default());
}

/// The block's innermost node, then the ancestors that cover more blocks each, the outermost of equals.
fn levels(page: &Page, block: usize) -> [u32; LEVELS] {
    let mut levels = [0; LEVELS];
    let mut found = 0;
    let mut covered = 0..0;
    let mut at = page.blocks[block].node;
    while at != NONE {
        let node = &page.nodes[at as usize];
        if found == 0 || node.blocks != covered {
            if found == LEVELS {
                break;
            }
            covered = node.blocks.clone();
            found += 1;
        }
        levels[found - 1] = at;
        at = node.parent;
    }
    let outermost = levels[found.max(1) - 1];
    levels[found..].fill(outermost);
    levels
}
