//! The features of the first stage: a block by itself, its place, and the blocks and elements around it.

use crate::features::groups::{
    Alike, Ancestor, Beside, Best, Heading, Lead, Learned, Near, Place, Position, Repeated, Title,
    Whole, Window,
};
use crate::features::measured::{Measured, Sums};
use crate::features::shape::{Text, Words, measure};
use crate::features::{flag, named, share};
use crate::kinds::{Kinds, most_probable};
use crate::linear::Linear;
use crate::page::{ItemProp, NONE, Node, Page, declared};
use crate::tags::{Tag, context};

/// A block is like the title from this product of shares on.
const MIN_LIKE_TITLE: f32 = 0.25;
/// Blocks whose features are looked at: offset and group.
const BESIDE: [i32; 2] = [-1, 1];
const NEAR: [i32; 4] = [-2, 2, 3, -3];
const WINDOWS: [usize; 2] = [5, 15];
const ANCESTORS: usize = 5;
const LEADS: std::ops::Range<usize> = 1..4;

/// The features in the order of a row.
pub fn names() -> Vec<(String, &'static str, &'static str)> {
    let mut names = Vec::new();
    named(&mut names, "text", Text::FEATURES);
    named(&mut names, "place", Place::FEATURES);
    named(&mut names, "learned", Learned::FEATURES);
    named(&mut names, "position", Position::FEATURES);
    for offset in BESIDE {
        named(&mut names, &format!("block{offset:+}"), Beside::FEATURES);
    }
    for offset in NEAR {
        named(&mut names, &format!("block{offset:+}"), Near::FEATURES);
    }
    for blocks in WINDOWS {
        named(&mut names, &format!("window{blocks}"), Window::FEATURES);
    }
    for level in 0..ANCESTORS {
        named(&mut names, &format!("ancestor{level}"), Ancestor::FEATURES);
    }
    for level in LEADS {
        named(&mut names, &format!("lead{level}"), Lead::FEATURES);
    }
    named(&mut names, "heading", Heading::FEATURES);
    named(&mut names, "repeated", Repeated::FEATURES);
    named(&mut names, "best", Best::FEATURES);
    named(&mut names, "alike", Alike::FEATURES);
    named(&mut names, "title", Title::FEATURES);
    named(&mut names, "page", Whole::FEATURES);
    names
}

/// What is the same for all blocks of a page.
pub struct View<'a> {
    page: &'a Page,
    linear: &'a Linear,
    measured: &'a Measured,
    total: Sums,
    best: u32,
    best_sums: Sums,
    h1: Option<usize>,
    first_good: f32,
    last_good: f32,
    title: Vec<u32>,
    description: Vec<u32>,
    title_block: Option<usize>,
    whole: Whole,
    kind: f32,
}

impl<'a> View<'a> {
    /// Of a page that `measured` has measured, and that has blocks; `kinds` says how probable each kind of page is.
    pub fn new(page: &'a Page, linear: &'a Linear, measured: &'a Measured, kinds: &Kinds) -> Self {
        let n = page.blocks.len();
        let best = best_node(page, measured);
        let mut view = Self {
            page,
            linear,
            measured,
            total: measured.between(0..n),
            best,
            best_sums: measured.within(&page.nodes[best as usize]),
            h1: page
                .blocks
                .iter()
                .position(|block| block.context & context::H1 != 0),
            first_good: measured.good.iter().position(|&g| g > 0.0).unwrap_or(0) as f32,
            last_good: measured
                .good
                .iter()
                .rposition(|&g| g > 0.0)
                .unwrap_or(n - 1) as f32,
            title: first_words(&page.title),
            description: first_words(&page.description),
            title_block: None,
            whole: Whole::default(),
            kind: most_probable(kinds) as f32,
        };
        view.whole = view.whole();
        view.title_block = view.title_block();
        view
    }

    fn whole(&self) -> Whole {
        let (page, measured, total) = (self.page, self.measured, self.total);
        let n = page.blocks.len() as f32;
        let chars_in = |bit: u32| {
            let inside = page.blocks.iter().zip(&measured.shapes);
            inside
                .filter(|(block, _)| block.context & bit != 0)
                .map(|(_, shape)| shape.chars)
                .sum::<f32>()
        };
        let says = |bit: u32| flag(page.declared & bit != 0);
        Whole {
            chars: total.chars,
            blocks: n,
            link_share: share(total.links, total.chars),
            good_share: share(total.good, total.chars),
            good: total.good,
            paragraphs: total.paragraphs / n,
            short: total.short / n,
            in_article: share(chars_in(context::ARTICLE), total.chars),
            in_main: share(chars_in(context::MAIN), total.chars),
            articles: page
                .nodes
                .iter()
                .filter(|node| node.tag == Tag::ARTICLE)
                .count() as f32,
            article_body: flag(
                page.nodes
                    .iter()
                    .any(|node| node.itemprop == ItemProp::ArticleBody),
            ),
            og_type: f32::from(page.og_type as u8),
            says_article: says(declared::ARTICLE),
            says_product: says(declared::PRODUCT),
            says_discussion: says(declared::DISCUSSION),
            says_list: says(declared::LIST),
            images: page.n_images as f32,
            paths: measured.groups.len() as f32 / n,
            mean_chars: total.chars / n,
            digits: share(total.digits, total.chars),
            of_bytes: share(total.chars, page.n_bytes as f32),
            title_words: self
                .title
                .iter()
                .filter_map(|&word| self.measured.word(self.linear, word))
                .sum(),
            kind: self.kind,
        }
    }

    /// Appends the features of a block.
    pub fn write(&self, block: usize, row: &mut Vec<f32>) {
        let (page, measured) = (self.page, self.measured);
        Text::of(&measured.shapes[block], &page.blocks[block]).write(row);
        self.place(block).write(row);
        self.learned(block).write(row);
        self.position(block).write(row);
        for offset in BESIDE {
            self.beside(block, offset).write(row);
        }
        for offset in NEAR {
            let Beside {
                chars,
                link_share,
                sentences,
                ..
            } = self.beside(block, offset);
            Near {
                chars,
                link_share,
                sentences,
            }
            .write(row);
        }
        for blocks in WINDOWS {
            self.window(block, blocks).write(row);
        }
        let mut below = measured.shapes[block].chars;
        for &level in &measured.levels[block][..ANCESTORS] {
            below = self.ancestor(level, below, row);
        }
        for &level in &measured.levels[block][LEADS] {
            let first = page.nodes[level as usize].blocks.start as usize;
            Lead {
                words: measured.word_weights[first],
                chars: measured.shapes[first].chars.min(200.0),
            }
            .write(row);
        }
        self.heading(block).write(row);
        measured.repeated[block].write(row);
        self.best(block).write(row);
        self.alike(block).write(row);
        self.title(block).write(row);
        self.whole.write(row);
    }

    fn place(&self, block: usize) -> Place {
        let node = self.page.node_of(block);
        let bits = self.page.blocks[block].context;
        let has = |bit: u32| flag(bits & bit != 0);
        let parent = self.page.nodes.get(node.parent as usize);
        Place {
            tag: f32::from(node.tag.0),
            parent_tag: parent.map_or(0.0, |parent| f32::from(parent.tag.0)),
            depth: f32::from(node.depth),
            nav: has(context::NAV),
            aside: has(context::ASIDE),
            footer: has(context::FOOTER),
            header: has(context::HEADER),
            main: has(context::MAIN),
            article: has(context::ARTICLE),
            section: has(context::SECTION),
            form: has(context::FORM),
            table: has(context::TABLE),
            list: has(context::LIST),
            definitions: has(context::DEFINITIONS),
            quote: has(context::QUOTE),
            pre: has(context::PRE),
            figure: has(context::FIGURE),
            control: has(context::BUTTON | context::SELECT | context::LABEL),
            hidden: has(context::HIDDEN),
            noscript: has(context::NOSCRIPT),
            heading: has(context::HEADING),
            h1: has(context::H1),
            paragraph: has(context::PARAGRAPH),
            details: has(context::DETAILS),
            article_body: has(context::ARTICLE_BODY),
            dialog: has(context::DIALOG),
            comments: has(context::COMMENTS),
        }
    }

    fn learned(&self, block: usize) -> Learned {
        let page = self.page;
        let weight = self.measured.path_weights[page.blocks[block].node as usize];
        let tokens = &page.blocks[block].tokens;
        let tokens = &page.tokens[tokens.start as usize..tokens.end as usize];
        let inline: f32 = tokens.iter().map(|&token| self.linear.name(token)).sum();
        let shape = &self.measured.shapes[block];
        let words = &self.measured.words.first[shape.first.0 as usize..shape.first.1 as usize];
        let sum = self.measured.word_weights[block];
        let (mut known, mut lowest) = (0.0, 0.0_f32);
        let weights = words
            .iter()
            .filter_map(|&word| self.measured.word(self.linear, word));
        for weight in weights {
            known += 1.0;
            lowest = lowest.min(weight);
        }
        Learned {
            path: weight.sum + inline,
            path_min: weight.min,
            path_max: weight.max,
            inline,
            words: sum,
            words_mean: sum / (words.len() as f32 + 1.0),
            words_min: lowest,
            words_known: known / (words.len() as f32).max(1.0),
        }
    }

    fn position(&self, block: usize) -> Position {
        let (measured, n) = (self.measured, self.page.blocks.len() as f32);
        let index = block as f32;
        Position {
            share: index / n,
            index: index.min(500.0),
            index_from_end: (n - index).min(500.0),
            chars_before: share(measured.sums[block].chars, self.total.chars),
            from_h1: self
                .h1
                .map_or(-500.0, |h1| (index - h1 as f32).clamp(-300.0, 300.0)),
            from_first_good: index - self.first_good,
            from_last_good: index - self.last_good,
            since_good: measured.since_good[block],
            until_good: measured.until_good[block],
            since_heading: measured.since_heading[block],
            good_before: share(measured.sums[block].good, self.total.good),
        }
    }

    fn beside(&self, block: usize, offset: i32) -> Beside {
        let other = block.checked_add_signed(offset as isize);
        let Some(other) = other.filter(|&other| other < self.page.blocks.len()) else {
            return Beside {
                chars: -1.0,
                link_share: -1.0,
                tag: -1.0,
                same_node: -1.0,
                sentences: -1.0,
            };
        };
        let (page, shape) = (self.page, &self.measured.shapes[other]);
        let it = &page.blocks[other];
        Beside {
            chars: shape.chars,
            link_share: (it.link_bytes as f32 / it.text.len() as f32).min(1.0),
            tag: f32::from(page.node_of(other).tag.0),
            same_node: flag(it.node == page.blocks[block].node),
            sentences: shape.sentences,
        }
    }

    fn window(&self, block: usize, blocks: usize) -> Window {
        let range = block.saturating_sub(blocks)..(block + blocks + 1).min(self.page.blocks.len());
        let n = range.len() as f32;
        let sums = self.measured.between(range);
        Window {
            chars: sums.chars / n,
            link_share: share(sums.links, sums.chars),
            good_share: share(sums.good, sums.chars),
        }
    }

    /// Writes the features of an ancestor; gives its characters.
    fn ancestor(&self, level: u32, below: f32, row: &mut Vec<f32>) -> f32 {
        let node = &self.page.nodes[level as usize];
        let sums = self.measured.within(node);
        let blocks = node.blocks.len() as f32;
        Ancestor {
            chars: share(sums.chars, self.total.chars),
            link_share: share(sums.links, sums.chars),
            blocks,
            good: share(sums.good, self.total.good),
            good_share: share(sums.good, sums.chars),
            below: share(below, sums.chars),
            tag: f32::from(node.tag.0),
            mean_chars: share(sums.chars, blocks),
        }
        .write(row);
        sums.chars
    }

    fn heading(&self, block: usize) -> Heading {
        let (page, measured) = (self.page, self.measured);
        let heading = measured.headings[block];
        if heading == NONE {
            return Heading {
                chars_since: -1.0,
                ..Heading::default()
            };
        }
        let heading = heading as usize;
        let node = page.node_of(heading);
        let around = page
            .nodes
            .get(node.parent as usize)
            .unwrap_or(&page.nodes[0]);
        Heading {
            words: measured.word_weights[heading],
            path: measured.path_weights[page.blocks[heading].node as usize].sum,
            tag: f32::from(node.tag.0),
            same_section: flag((block as u32) < around.blocks.end),
            chars_since: measured.between(heading..block).chars,
        }
    }

    fn best(&self, block: usize) -> Best {
        let best = &self.page.nodes[self.best as usize].blocks;
        let at = block as u32;
        let holds = |node: &Node| node.blocks.start <= best.start && best.end <= node.blocks.end;
        let (mut node, mut up) = (self.page.node_of(block), 0.0);
        while !holds(node) && node.parent != NONE {
            node = &self.page.nodes[node.parent as usize];
            up += 1.0;
        }
        Best {
            inside: flag(best.contains(&at)),
            distance: if best.contains(&at) {
                0.0
            } else if at < best.start {
                at as f32 - best.start as f32
            } else {
                at as f32 - best.end as f32 + 1.0
            },
            up,
            of_common: share(best.len() as f32, node.blocks.len() as f32),
            good: share(self.best_sums.good, self.total.good),
            chars: share(self.best_sums.chars, self.total.chars),
        }
    }

    fn alike(&self, block: usize) -> Alike {
        let (measured, n) = (self.measured, self.page.blocks.len() as f32);
        let group = measured.groups[measured.paths[block] as usize];
        let element = measured.same_element[measured.signatures[block] as usize];
        Alike {
            blocks: group.blocks,
            chars: share(group.chars, self.total.chars),
            link_share: share(group.links, group.chars),
            good: share(group.good, self.total.good),
            mean_chars: group.chars / group.blocks,
            span: (group.last - group.first) as f32 / n,
            first: group.first as f32 / n,
            since_first: (block as f32 - group.first as f32).min(200.0),
            same_element: element.0,
            same_element_chars: share(element.1, self.total.chars),
            same_text: measured.same_text[measured.texts[block] as usize],
            same_first_word: measured.same_first_word[measured.first_words[block] as usize],
        }
    }

    fn title(&self, block: usize) -> Title {
        let (share, covered) = self.measured.like(block, &self.title);
        let heading = self.measured.headings[block];
        Title {
            share,
            covered,
            from_match: self
                .title_block
                .map_or(-500.0, |at| (block as f32 - at as f32).clamp(-300.0, 300.0)),
            heading_covered: if heading == NONE {
                0.0
            } else {
                self.measured.like(heading as usize, &self.title).1
            },
            described: self.measured.like(block, &self.description).1,
        }
    }

    /// The first of the blocks that share most with the title, if that is enough to be its headline.
    fn title_block(&self) -> Option<usize> {
        let mut best = (MIN_LIKE_TITLE, None);
        for block in 0..self.page.blocks.len() {
            let (share, covered) = self.measured.like(block, &self.title);
            if share * covered > best.0 {
                best = (share * covered, Some(block));
            }
        }
        best.1
    }
}

/// The first words of a text, hashed.
pub fn first_words(text: &[u8]) -> Vec<u32> {
    let mut words = Words::default();
    if !text.is_empty() {
        measure(text, &mut words);
    }
    words.first
}

/// The node whose good text outweighs the rest of its text and its links the most; the innermost of equals.
fn best_node(page: &Page, measured: &Measured) -> u32 {
    let (mut best, mut highest) = (0, f32::MIN);
    for (at, node) in page.nodes.iter().enumerate() {
        if node.blocks.is_empty() {
            continue;
        }
        let sums = measured.within(node);
        let score = sums.good - 0.35 * (sums.chars - sums.good) - 1.2 * sums.links;
        if score >= highest {
            (best, highest) = (at as u32, score);
        }
    }
    best
}
