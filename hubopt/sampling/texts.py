"""Realistic texts: short and long, in many scripts, and with hard cases for tokenizers."""

# ruff: noqa: RUF001  # letters of other scripts are intended

from __future__ import annotations

TEXTS = (
    "the quick brown fox jumps over the lazy dog",
    "Is this film worth two hours of my life?",
    "no",
    "A list: apples, pears; and (maybe) plums.",
    "I",
    "The service was AWFUL!!! Never again... would NOT recommend",
    "In 1969 about 600,000,000 people watched the landing; 3.14159 is not e.",
    "He said, \"don't\" - and she didn't; it's the o'clock's fault.",
    "unbelievable antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "São Paulo, 21 °C, wind 9 km/h",
    "Der Fluß fließt über die Brücke, Größe XXL für 3,50 €.",
    "L'été dernier, nous avons mangé une crème brûlée à Besançon.",
    "El niño comió piñas mañana y cigüeñas. ¿Verdad? ¡Sí!",
    "Zażółć gęślą jaźń w Łodzi",
    "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "İstanbul'da ılık bir akşam, çağrı şöyle geldi",
    "Tiếng Việt có sáu thanh điệu khác nhau",
    "Съешь ещё этих мягких французских булок, да выпей чаю",
    "Η γρήγορη αλεπού πηδάει πάνω από το σκύλο",
    "כל בני האדם נולדו בני חורין",
    "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतंत्रता प्राप्त है",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน",
    "人人生而自由,在尊严和权利上一律平等。",
    "吾輩は猫である。名前はまだ無い。",
    "모든 인간은 태어날 때부터 자유로우며 평등하다",
    "아버지가방에들어가신다",
    "ስሜ አበበ ነው",
    "mixed: hello мир 世界 🌍",
    "👩‍👩‍👧‍👦 ❤️ 👍🏽 :-) <3",
    "https://www.example.com/a/path?query=1&other=%20two#part",
    "write to first.last+tag@mail.example.org or @handle #hashtag",
    '<p class="intro">Some <b>bold</b> text &amp; more</p><br/>',
    '{"key": [1, 2.5e-3, null], "nested": {"a": true}}',
    "def f(x):\n    return x ** 2  # squared",
    "first line\nsecond line\r\n\tthird, indented",
    "too   many    spaces ,and  none",
    " leading and trailing ",
    "nai\u0308ve cafe\u0301 with combining marks, and \u200bzero\u00a0width",
    "!?!?...---***",
    "0",
    "The committee met on Tuesday to consider the proposals that had been put forward the week "
    "before. After a long discussion, in which every member took part, two of them were accepted "
    "without change, one was sent back for further work, and the last, which nobody had liked "
    "from the start, was withdrawn by its own author. The next meeting will take place in spring, "
    "when the results of the first trials are known and the budget for the year is settled.",
)
"""Non-empty texts; the last one is the longest."""
