//! The features of the first stage: a block by itself, its place, and the blocks and elements around it.

use crate::features::shape::{Shape, Text, Words, measure};
use crate::features::{flag, group, named, share};
use crate::hash::{Numbers, Owners, shingle};
use crate::linear::Linear;
use crate::page::{ItemProp, NONE, Node, Page, declared};
use crate::tags::{Tag, context};

/// A good block has at least this many characters, less than this share of links, and punctuation.
const GOOD_CHARS: f32 = 60.0;
const GOOD_LINK_SHARE: f32 = 0.34;
/// A block is like the title from this product of shares on.
const MIN_LIKE_TITLE: f32 = 0.25;
/// Distances in blocks are cut off here.
const FAR: f32 = 99.0;
/// Ancestors that are looked at: those that cover more blocks than the one below.
pub const LEVELS: usize = 6;
/// Shingles that are remembered of a page; on a page of more, later ones count as unique.
const MAX_SHINGLES: usize = 1 << 19;
/// A block of fewer words is its own shingle.
const SHINGLE_WORDS: usize = 6;

group! {
    /// The elements around it.
    Place {
        tag: "element", "the innermost block-level element";
        parent_tag: "element", "the one around that";
        depth: "elements", "block-level elements above it";
        nav: "0 or 1", "in nav, a menu or a tab list";
        aside: "0 or 1", "in aside";
        footer: "0 or 1", "in footer";
        header: "0 or 1", "in header";
        main: "0 or 1", "in main";
        article: "0 or 1", "in article";
        section: "0 or 1", "in section";
        form: "0 or 1", "in a form";
        table: "0 or 1", "in a table";
        list: "0 or 1", "in a list";
        definitions: "0 or 1", "in dl";
        quote: "0 or 1", "in blockquote";
        pre: "0 or 1", "in pre";
        figure: "0 or 1", "in figure";
        control: "0 or 1", "in a button, a selection or a label";
        hidden: "0 or 1", "not shown";
        noscript: "0 or 1", "in noscript";
        heading: "0 or 1", "in a heading";
        h1: "0 or 1", "in h1";
        paragraph: "0 or 1", "in p";
        details: "0 or 1", "in details";
        article_body: "0 or 1", "in itemprop=articleBody";
        dialog: "0 or 1", "in a dialog";
        comments: "0 or 1", "in an element whose class, id or itemprop names comments";
    }
}

group! {
    /// What its names and words are worth.
    Learned {
        path: "weight", "sum over the names of all elements around it";
        path_min: "weight", "smallest name";
        path_max: "weight", "largest name";
        inline: "weight", "sum over the names of inline elements at its start";
        words: "weight", "sum over its first words";
        words_mean: "weight", "mean of its first words";
        words_min: "weight", "smallest of its first words";
        words_known: "share", "its first words that have a weight";
    }
}

group! {
    /// Where it stands on the page.
    Position {
        share: "share", "blocks before it";
        index: "blocks", "blocks before it, at most 500";
        index_from_end: "blocks", "blocks from it to the end, at most 500";
        chars_before: "share", "characters before it";
        from_h1: "blocks", "distance from the first h1, -500 without one";
        from_first_good: "blocks", "distance from the first good block";
        from_last_good: "blocks", "distance from the last good block";
        since_good: "blocks", "since the last good block before it";
        until_good: "blocks", "until the next good block";
        since_heading: "blocks", "since the last heading";
        good_before: "share", "good characters before it";
    }
}

group! {
    /// The block before, or after.
    Beside {
        chars: "characters", "its length, -1 without one";
        link_share: "share", "its link share";
        tag: "element", "its element";
        same_node: "0 or 1", "it has the same element around it";
        sentences: "count", "its ends of sentences";
    }
}

group! {
    /// The block two or three away.
    Near {
        chars: "characters", "its length, -1 without one";
        link_share: "share", "its link share";
        sentences: "count", "its ends of sentences";
    }
}

group! {
    /// The blocks within some distance on both sides.
    Window {
        chars: "characters", "mean length";
        link_share: "share", "link text among their characters";
        good_share: "share", "good blocks among their characters";
    }
}

group! {
    /// An ancestor that covers more blocks than the one below it.
    Ancestor {
        chars: "share", "the page's characters in it";
        link_share: "share", "link text among its characters";
        blocks: "blocks", "blocks in it";
        good: "share", "the page's good characters in it";
        good_share: "share", "good blocks among its characters";
        below: "share", "part of it that the ancestor below holds";
        tag: "element", "its element";
        mean_chars: "characters", "characters a block";
    }
}

group! {
    /// The first block of an ancestor, often its heading.
    Lead {
        words: "weight", "what its words are worth";
        chars: "characters", "its length, at most 200";
    }
}

group! {
    /// The last heading before it.
    Heading {
        words: "weight", "what its words are worth; 0 without one";
        path: "weight", "what its names are worth";
        tag: "element", "its element";
        same_section: "0 or 1", "the element around the heading holds the block too";
        chars_since: "characters", "text since the heading, -1 without one";
    }
}

group! {
    /// How much of it stands elsewhere on the page.
    Repeated {
        earlier: "share", "its word 5-grams that an earlier block has";
        anywhere: "share", "its word 5-grams that another block has";
    }
}

group! {
    /// Its relation to the element that holds the most good text and the least else.
    Best {
        inside: "0 or 1", "it stands in it";
        distance: "blocks", "distance from it, negative before it";
        up: "elements", "elements up to one that holds both";
        of_common: "share", "its blocks among those of the element that holds both";
        good: "share", "the page's good characters in it";
        chars: "share", "the page's characters in it";
    }
}

group! {
    /// The blocks with the same path of elements, classes and ids.
    Alike {
        blocks: "blocks", "how many";
        chars: "share", "the page's characters in them";
        link_share: "share", "link text among their characters";
        good: "share", "the page's good characters in them";
        mean_chars: "characters", "characters a block";
        span: "share", "from the first to the last of them, in blocks of the page";
        first: "share", "blocks of the page before the first of them";
        since_first: "blocks", "distance from the first of them, at most 200";
        same_element: "blocks", "blocks with the same element, class and id, wherever";
        same_element_chars: "share", "the page's characters in those";
        same_text: "blocks", "blocks with the same words";
        same_first_word: "blocks", "blocks with the same first word";
    }
}

group! {
    /// What the page says of itself: its title and its description, their first words.
    Title {
        share: "share", "its first words that are in the title";
        covered: "share", "words of the title that it has";
        from_match: "blocks", "distance from the block that is most like the title, -500 without one";
        heading_covered: "share", "words of the title that the last heading before it has";
        described: "share", "words of the description that it has";
    }
}

group! {
    /// The page, the same for all of its blocks.
    Whole {
        chars: "characters", "its text";
        blocks: "blocks", "its blocks";
        link_share: "share", "link text among its characters";
        good_share: "share", "good blocks among its characters";
        good: "characters", "in good blocks";
        paragraphs: "share", "blocks in p";
        short: "share", "blocks of less than 25 characters";
        in_article: "share", "characters in article";
        in_main: "share", "characters in main";
        articles: "count", "article elements";
        article_body: "0 or 1", "an element has itemprop=articleBody";
        og_type: "class", "og:type";
        says_article: "0 or 1", "JSON-LD declares an article";
        says_product: "0 or 1", "JSON-LD declares a product";
        says_discussion: "0 or 1", "JSON-LD declares a discussion";
        says_list: "0 or 1", "JSON-LD declares a list";
        images: "count", "img elements";
        paths: "share", "different paths a block";
        mean_chars: "characters", "characters a block";
        digits: "share", "digits among its characters";
        of_bytes: "share", "characters a byte of the page";
        title_words: "weight", "what the words of the title are worth";
    }
}

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

/// Sums over the blocks before a place; a range is a difference of two.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    chars: f32,
    links: f32,
    good: f32,
    short: f32,
    paragraphs: f32,
    digits: f32,
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
struct PathWeight {
    sum: f32,
    min: f32,
    max: f32,
}

/// Blocks with one path.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    blocks: f32,
    chars: f32,
    links: f32,
    good: f32,
    first: u32,
    last: u32,
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
    /// Number of each block's element signature among the page's.
    pub signatures: Vec<u32>,
    /// The last heading before each block, or NONE.
    pub headings: Vec<u32>,
    /// Share of the blocks' first words that have a weight: low where the page's language was hardly trained on.
    pub known_words: f32,
    good: Vec<f32>,
    sums: Vec<Sums>,
    path_weights: Vec<PathWeight>,
    word_weights: Vec<f32>,
    repeated: Vec<Repeated>,
    groups: Vec<Group>,
    same_element: Vec<(f32, f32)>,
    same_text: Vec<f32>,
    same_first_word: Vec<f32>,
    texts: Vec<u32>,
    first_words: Vec<u32>,
    since_good: Vec<f32>,
    until_good: Vec<f32>,
    since_heading: Vec<f32>,
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
        let words = &self.words;
        self.word_weights.extend(self.shapes.iter().map(|shape| {
            let first = &words.first[shape.first.0 as usize..shape.first.1 as usize];
            first
                .iter()
                .filter_map(|&word| linear.word(word))
                .sum::<f32>()
        }));
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

    fn between(&self, blocks: std::ops::Range<usize>) -> Sums {
        self.sums[blocks.end].minus(self.sums[blocks.start])
    }

    fn within(&self, node: &Node) -> Sums {
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
}

impl<'a> View<'a> {
    /// Of a page that `measured` has measured, and that has blocks.
    pub fn new(page: &'a Page, linear: &'a Linear, measured: &'a Measured) -> Self {
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
                .filter_map(|&word| self.linear.word(word))
                .sum(),
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
        for weight in words.iter().filter_map(|&word| self.linear.word(word)) {
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
        let (share, covered) = self.like(block, &self.title);
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
                self.like(heading as usize, &self.title).1
            },
            described: self.like(block, &self.description).1,
        }
    }

    /// Which part of a block's first words is among `words`, and which part of those it has.
    fn like(&self, block: usize, words: &[u32]) -> (f32, f32) {
        let shape = &self.measured.shapes[block];
        let own = &self.measured.words.first[shape.first.0 as usize..shape.first.1 as usize];
        let shared = own.iter().filter(|word| words.contains(word)).count() as f32;
        (
            shared / (own.len() as f32 + 0.5),
            shared / (words.len() as f32 + 0.5),
        )
    }

    /// The first of the blocks that share most with the title, if that is enough to be its headline.
    fn title_block(&self) -> Option<usize> {
        let mut best = (MIN_LIKE_TITLE, None);
        for block in 0..self.page.blocks.len() {
            let (share, covered) = self.like(block, &self.title);
            if share * covered > best.0 {
                best = (share * covered, Some(block));
            }
        }
        best.1
    }
}

fn first_words(text: &[u8]) -> Vec<u32> {
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
