//! Element names as small numbers, and what each element means for cutting a page into blocks.
//!
//! The numbers are features of the model: adding an element at the end of the table is free, moving one asks
//! for training anew.

/// An element by number; 0 is any element that the table does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u8);

/// Properties of elements, as a set of bits.
pub mod property {
    /// Has no content and no end tag.
    pub const VOID: u8 = 1;
    /// Block-level: its start and its end cut the text, and it becomes a node.
    pub const BLOCK: u8 = 2;
    /// Its start tag ends an open paragraph.
    pub const ENDS_P: u8 = 4;
    /// Its content is no markup: everything up to its end tag is skipped, or read as text (title).
    pub const RAW: u8 = 8;
    /// Its class and id say nothing about the text around it.
    pub const NO_TOKENS: u8 = 16;
}

/// What a piece of text stands in, as a set of bits: its elements, their ARIA roles, their schema.org names.
pub mod context {
    /// nav, or a role of navigation, menu or tab list.
    pub const NAV: u32 = 1;
    /// aside, or the role complementary.
    pub const ASIDE: u32 = 1 << 1;
    /// footer, or the role contentinfo.
    pub const FOOTER: u32 = 1 << 2;
    /// header, or the role banner.
    pub const HEADER: u32 = 1 << 3;
    /// main, or its role.
    pub const MAIN: u32 = 1 << 4;
    /// article, or its role.
    pub const ARTICLE: u32 = 1 << 5;
    /// section.
    pub const SECTION: u32 = 1 << 6;
    /// form, or the roles form and search.
    pub const FORM: u32 = 1 << 7;
    /// table.
    pub const TABLE: u32 = 1 << 8;
    /// ul, ol, menu, dir.
    pub const LIST: u32 = 1 << 9;
    /// li.
    pub const ITEM: u32 = 1 << 10;
    /// dl.
    pub const DEFINITIONS: u32 = 1 << 11;
    /// blockquote.
    pub const QUOTE: u32 = 1 << 12;
    /// pre, listing.
    pub const PRE: u32 = 1 << 13;
    /// figure, figcaption.
    pub const FIGURE: u32 = 1 << 14;
    /// button, or the roles button, tab and menuitem.
    pub const BUTTON: u32 = 1 << 15;
    /// select, option, datalist, textarea.
    pub const SELECT: u32 = 1 << 16;
    /// Not shown: hidden, aria-hidden, display:none, template.
    pub const HIDDEN: u32 = 1 << 17;
    /// noscript.
    pub const NOSCRIPT: u32 = 1 << 18;
    /// A class or id, or an itemprop, that names comments.
    pub const COMMENTS: u32 = 1 << 19;
    /// a.
    pub const LINK: u32 = 1 << 20;
    /// p.
    pub const PARAGRAPH: u32 = 1 << 21;
    /// h1 to h6.
    pub const HEADING: u32 = 1 << 22;
    /// label, legend.
    pub const LABEL: u32 = 1 << 23;
    /// td, th.
    pub const CELL: u32 = 1 << 24;
    /// details, summary.
    pub const DETAILS: u32 = 1 << 25;
    /// itemprop=articleBody.
    pub const ARTICLE_BODY: u32 = 1 << 26;
    /// dialog, or the roles dialog and alertdialog.
    pub const DIALOG: u32 = 1 << 27;
    /// h1.
    pub const H1: u32 = 1 << 28;
}

macro_rules! tags {
    ($($id:ident = $number:literal $name:literal [$($property:ident)*] $($context:ident)*;)*) => {
        #[allow(missing_docs)]
        impl Tag {
            $(pub const $id: Tag = Tag($number);)*

            /// The element of a lower-case name; `Tag(0)` where the table has none.
            fn known(name: &[u8]) -> Tag {
                match name {
                    $($name => Tag::$id,)*
                    _ => Tag(0),
                }
            }
        }

        static NAMES: [&str; 128] = {
            let mut names = ["?"; 128];
            $(names[$number] = match str::from_utf8($name) {
                Ok(name) => name,
                Err(_) => panic!("a name is ASCII"),
            };)*
            names
        };
        static PROPERTIES: [u8; 128] = {
            let mut table = [0; 128];
            $(table[$number] = 0 $(| property::$property)*;)*
            table
        };
        static CONTEXTS: [u32; 128] = {
            let mut table = [0; 128];
            $(table[$number] = 0 $(| context::$context)*;)*
            table
        };
    };
}

tags! {
    A = 1 b"a" [] LINK;
    P = 2 b"p" [BLOCK ENDS_P] PARAGRAPH;
    DIV = 3 b"div" [BLOCK ENDS_P];
    LI = 4 b"li" [BLOCK ENDS_P] ITEM;
    UL = 5 b"ul" [BLOCK ENDS_P] LIST;
    OL = 6 b"ol" [BLOCK ENDS_P] LIST;
    TD = 7 b"td" [BLOCK ENDS_P] CELL;
    TH = 8 b"th" [BLOCK ENDS_P] CELL;
    TR = 9 b"tr" [BLOCK ENDS_P];
    TABLE = 10 b"table" [BLOCK ENDS_P] TABLE;
    TBODY = 11 b"tbody" [BLOCK];
    THEAD = 12 b"thead" [BLOCK];
    TFOOT = 13 b"tfoot" [BLOCK];
    H1 = 14 b"h1" [BLOCK ENDS_P] HEADING H1;
    H2 = 15 b"h2" [BLOCK ENDS_P] HEADING;
    H3 = 16 b"h3" [BLOCK ENDS_P] HEADING;
    H4 = 17 b"h4" [BLOCK ENDS_P] HEADING;
    H5 = 18 b"h5" [BLOCK ENDS_P] HEADING;
    H6 = 19 b"h6" [BLOCK ENDS_P] HEADING;
    NAV = 20 b"nav" [BLOCK ENDS_P] NAV;
    ASIDE = 21 b"aside" [BLOCK ENDS_P] ASIDE;
    FOOTER = 22 b"footer" [BLOCK ENDS_P] FOOTER;
    HEADER = 23 b"header" [BLOCK ENDS_P] HEADER;
    MAIN = 24 b"main" [BLOCK ENDS_P] MAIN;
    ARTICLE = 25 b"article" [BLOCK ENDS_P] ARTICLE;
    SECTION = 26 b"section" [BLOCK ENDS_P] SECTION;
    FORM = 27 b"form" [BLOCK ENDS_P] FORM;
    BLOCKQUOTE = 28 b"blockquote" [BLOCK ENDS_P] QUOTE;
    PRE = 29 b"pre" [BLOCK ENDS_P] PRE;
    FIGURE = 30 b"figure" [BLOCK ENDS_P] FIGURE;
    FIGCAPTION = 31 b"figcaption" [BLOCK ENDS_P] FIGURE;
    DL = 32 b"dl" [BLOCK ENDS_P] DEFINITIONS;
    DT = 33 b"dt" [BLOCK ENDS_P];
    DD = 34 b"dd" [BLOCK ENDS_P];
    BUTTON = 35 b"button" [BLOCK] BUTTON;
    SELECT = 36 b"select" [BLOCK] SELECT;
    OPTION = 37 b"option" [BLOCK] SELECT;
    LABEL = 38 b"label" [] LABEL;
    TEXTAREA = 39 b"textarea" [BLOCK RAW] SELECT;
    SCRIPT = 40 b"script" [RAW];
    STYLE = 41 b"style" [RAW];
    NOSCRIPT = 42 b"noscript" [BLOCK] NOSCRIPT;
    TITLE = 43 b"title" [BLOCK RAW];
    HEAD = 44 b"head" [BLOCK NO_TOKENS];
    BODY = 45 b"body" [BLOCK NO_TOKENS];
    HTML = 46 b"html" [BLOCK NO_TOKENS];
    META = 47 b"meta" [VOID NO_TOKENS];
    LINK = 48 b"link" [VOID NO_TOKENS];
    BR = 49 b"br" [VOID NO_TOKENS];
    HR = 50 b"hr" [VOID BLOCK ENDS_P NO_TOKENS];
    IMG = 51 b"img" [VOID NO_TOKENS];
    INPUT = 52 b"input" [VOID NO_TOKENS];
    SPAN = 53 b"span" [];
    B = 54 b"b" [];
    STRONG = 55 b"strong" [];
    I = 56 b"i" [];
    EM = 57 b"em" [];
    IFRAME = 58 b"iframe" [RAW];
    SVG = 59 b"svg" [RAW];
    TEMPLATE = 60 b"template" [BLOCK] HIDDEN;
    CENTER = 61 b"center" [BLOCK ENDS_P];
    FONT = 62 b"font" [];
    CODE = 63 b"code" [];
    DETAILS = 64 b"details" [BLOCK ENDS_P] DETAILS;
    SUMMARY = 65 b"summary" [BLOCK ENDS_P] DETAILS;
    FIELDSET = 66 b"fieldset" [BLOCK ENDS_P];
    LEGEND = 67 b"legend" [BLOCK] LABEL;
    ADDRESS = 68 b"address" [BLOCK ENDS_P];
    CAPTION = 69 b"caption" [BLOCK];
    TIME = 70 b"time" [];
    DIALOG = 71 b"dialog" [BLOCK ENDS_P] DIALOG;
    HGROUP = 72 b"hgroup" [BLOCK ENDS_P];
    MENU = 73 b"menu" [BLOCK ENDS_P] LIST;
    OBJECT = 74 b"object" [];
    VIDEO = 75 b"video" [BLOCK];
    AUDIO = 76 b"audio" [BLOCK];
    CANVAS = 77 b"canvas" [];
    SMALL = 78 b"small" [];
    SUP = 79 b"sup" [];
    SUB = 80 b"sub" [];
    U = 81 b"u" [];
    WBR = 82 b"wbr" [VOID NO_TOKENS];
    COL = 83 b"col" [VOID NO_TOKENS];
    COLGROUP = 84 b"colgroup" [BLOCK];
    AREA = 85 b"area" [VOID NO_TOKENS];
    BASE = 86 b"base" [VOID NO_TOKENS];
    EMBED = 87 b"embed" [VOID NO_TOKENS];
    PARAM = 88 b"param" [VOID NO_TOKENS];
    SOURCE = 89 b"source" [VOID NO_TOKENS];
    TRACK = 90 b"track" [VOID NO_TOKENS];
    OPTGROUP = 91 b"optgroup" [BLOCK];
    DATALIST = 92 b"datalist" [BLOCK] SELECT;
    XMP = 93 b"xmp" [BLOCK RAW] PRE;
    NOFRAMES = 94 b"noframes" [RAW];
    NOEMBED = 95 b"noembed" [RAW];
    MAP = 96 b"map" [];
    LISTING = 97 b"listing" [BLOCK] PRE;
    DIR = 98 b"dir" [BLOCK] LIST;
    INS = 99 b"ins" [];
    DEL = 100 b"del" [];
    Q = 101 b"q" [];
    CITE = 102 b"cite" [];
    ABBR = 103 b"abbr" [];
    KBD = 104 b"kbd" [];
    MARK = 105 b"mark" [];
    BIG = 106 b"big" [];
    TT = 107 b"tt" [];
    S = 108 b"s" [];
    PICTURE = 109 b"picture" [];
    MATH = 110 b"math" [];
    SEARCH = 111 b"search" [BLOCK];
    SAMP = 112 b"samp" [];
    RT = 114 b"rt" [];
    RP = 115 b"rp" [];
    STRIKE = 116 b"strike" [];
    CUSTOM = 120 b"custom-element" [BLOCK];
}

/// Longer names are no element of the table.
const LONGEST_NAME: usize = 16;

impl Tag {
    /// The element of a name in any case; a name with a hyphen is a custom element, which is block-level.
    pub fn of(name: &[u8]) -> Tag {
        let mut lower = [0; LONGEST_NAME];
        if name.len() <= LONGEST_NAME {
            for (to, from) in lower.iter_mut().zip(name) {
                *to = from.to_ascii_lowercase();
            }
            let known = Self::known(&lower[..name.len()]);
            if known != Tag(0) {
                return known;
            }
        }
        if name.contains(&b'-') {
            Tag::CUSTOM
        } else {
            Tag(0)
        }
    }

    /// Its name in lower case; `?` for an unknown one.
    pub fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }

    /// Whether it has every one of these properties.
    #[inline]
    pub fn is(self, properties: u8) -> bool {
        PROPERTIES[self.0 as usize] & properties == properties
    }

    /// Whether it is h1 to h6.
    #[inline]
    pub fn is_heading(self) -> bool {
        (Tag::H1.0..=Tag::H6.0).contains(&self.0)
    }

    /// What text inside it stands in.
    #[inline]
    pub fn context(self) -> u32 {
        CONTEXTS[self.0 as usize]
    }

    /// A hash of the element, beside those of class and id names.
    #[inline]
    pub fn token(self) -> u32 {
        0x5bd1_e995_u32.wrapping_mul(u32::from(self.0) + 77) >> 7
    }
}
