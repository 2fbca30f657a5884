"""Common compounds that contain another thing's name: "hot dog", "bus stop", "star fish"."""

from __future__ import annotations

from functools import lru_cache

from .inflection import inflect

__all__ = ["COMPOUNDS", "compounds"]

#: The compounds, in the singular, separated by commas. What a starred word names is shown all the
#: same ("a dog house" shows a house); no other part is ("no dog"). Their plural counts too, but
#: where "!" says that it may be a verb ("a bus stops"). Left out is what captions say of the thing
#: itself: "toilet seat", "clock tower", "a zebra crossing the street".
COMPOUNDS = """
hot dog, corn dog, chili dog, prairie dog, hot dog *stand!, hot dog *cart, hot dog *vendor,
hot dog *bun, dog *house, dog *kennel, dog *crate, dog *bowl, dog food, dog *bed, dog *park!,
dog *collar, dog *leash, dog *tag, dog *toy, dog *treat, dog *bone, dog *fish, dog *wood,
sheep *dog, bull *dog, bird *dog, cattle *dog, pit bull, cat *fish, cat food, cat *bed, cat tree,
cat *tower, cat *house, cat litter, cat *toy, cat nip, cat burglar, bob cat, bird *house,
bird *cage, bird *bath, bird *feeder, bird *nest!, bird's *nest, bird seed, rubber duck, duck tape,
goose bump, goose berry, teddy bear, stuffed bear, toy bear, gummy bear, care bear, koala bear,
bear skin, bear claw, stuffed animal, stuffed dog, stuffed cat, stuffed elephant, stuffed horse,
stuffed cow, stuffed sheep, stuffed giraffe, stuffed zebra, stuffed bird, stuffed mouse, sea horse,
saw horse, rocking horse, hobby horse, pommel horse, clothes horse, horse *shoe, horse *fly!,
horse radish, horse power, horse *trailer, horse *stable, horse *barn, sea lion, elephant *seal,
guinea pig, zebra *fish, zebra *print, giraffe *print, tiger *print, leopard *print, cow *print,
animal *print, flower *print, flower *pattern, cow *bell, cow *boy, cow *girl, cow hide!,
bull dozer, bull horn, bull's eye, bull fighter, sheep skin, lamb chop, mouse *pad, mouse *trap!,
computer *mouse, mickey mouse, star fish, jelly fish, cuttle fish, cray fish, silver fish,
gold *fish, sword *fish, fish *bowl, fish *tank, fish *market, fish *hook, fish *net, fish *pond,
fish *bone, fish *stick, chicken *wire, chicken *coop, crab *apple, car park!, car wash!, car *seat,
car *key, car *dealership, car *alarm, cable car, *train car, railroad car, railway car, rail car,
box car, dining car, subway car, street car, trolley car, tram car, bumper car, bus stop!,
bus *station, bus *shelter, bus *terminal, bus *depot, bus *driver, bus *lane, bus *ticket,
bus *route, train *station, train *track, train *platform, train *depot, train *yard, train *line,
train *driver, train *conductor, train *ticket, train *rail, train *bridge, train *tunnel,
passenger *train, passenger *jet, passenger *plane, passenger *airplane, passenger *bus,
passenger *car, passenger *ferry, passenger *boat, passenger *ship, passenger *aircraft,
truck *driver, truck stop!, *truck bed, pickup *truck, pick up *truck, hand truck, fire *truck,
fire engine, fire *man, fire *fighter, fire *station, fire *place, fire *hydrant,
fire *extinguisher, fire *escape!, fire *wood, fire *work, fire *fly!, fire *alarm, boat *house,
boat *ramp, boat *yard, boat *dock!, boat *trailer, boat *shoe, gravy boat, house *boat, ship *yard,
ship *wreck!, plane *tree, plane *ticket, air *plane, airplane *hangar, airplane *ticket,
aircraft *carrier, jet lag, jet *ski!, bike *lane, bike *rack, bike *path, bike *helmet, bike *shop,
bike *trail, bicycle *lane, bicycle *rack, bicycle *helmet, bicycle *path, bicycle *shop,
motorcycle *helmet, motorcycle *jacket, dirt *bike, motor *bike, motor *cycle, motor *scooter,
traffic *light, traffic *signal, traffic *sign, traffic *jam, traffic *cone, stop *light,
stop *sign, stop watch, parking *meter, parking *lot, parking *garage, parking *space, light *bulb,
light house, light *switch, light *pole, house *plant, house *fly!, house *cat, house coat,
house *key, house wife, house keeper, tree *house, shoe tree, coat tree, family tree, tree *frog,
flower *pot, flower *bowl, flower *girl, flower *shop, *flower bed, river bed, lake bed, sea bed,
garden bed, raised bed, stream bed, bed *room, bed side, bed bug, bed *time, bed rock, bed *spread,
potted *plant, umbrella *stand!, umbrella *holder, movie star, film star, rock star, pop star,
star *fruit, star *anise, star light, star wars, ball park!, ball *room, ball *game, ball *player,
ball *gown, ball *cap, ball point, meat ball, snow ball, cannon ball, crystal ball, disco ball,
eye ball, hair ball, moth ball, mirror ball, sports *ball, soccer *ball, tennis *ball,
bowling *ball, tennis *racket, tennis *racquet, tennis *court, tennis *player, tennis *shoe,
tennis *match, table tennis, ping pong *ball, ping pong *table, baseball *bat, baseball *glove,
baseball *mitt, baseball *cap, baseball *hat, baseball *field, baseball *game, baseball *player,
baseball *team, baseball *diamond, baseball *uniform, baseball *park, baseball *stadium,
baseball *helmet, baseball *jersey, baseball *match, baseball *pitcher, baseball *batter,
baseball *catcher, football *field, football *player, football *game, football *stadium,
football *helmet, football *team, football *jersey, football *pitch, football *match,
basketball *court, basketball *player, basketball *game, basketball *hoop, basketball *team,
basketball *net, volleyball *net, volleyball *court, volleyball *player, volleyball *game, bat *man,
clock work, o'clock, cup board, cup *cake, cup *holder, world cup, egg *cup, butter cup,
coffee *cup, tea *cup, coffee *table, coffee *mug, coffee *maker, coffee *pot, coffee *shop,
wine *glass, wine *bottle, wine *rack, wine *cellar, beer *bottle, beer *glass, water *bottle,
water *glass, glass house, magnifying glass, looking glass, stained glass, hour glass,
bottle *opener, bottle *cap, bottle neck, fork lift, tuning fork, pitch *fork, spoon *rest!,
super bowl, *toilet bowl, toilet paper, toilet tissue, toilet *brush, toilet *roll, dining *table,
dining *room, table *cloth, table *lamp, table *top, table *spoon, table ware, pool *table,
time table, operating *table, chair lift!, chair *man, ski *lift, arm *chair, wheel *chair,
high *chair, couch potato, bath *tub, tv *stand!, tv *remote, tv *show!, television *stand!,
television *remote, television *show!, laptop *bag, laptop *case, laptop *stand!,
computer *keyboard, computer *desk, computer *chair, notebook *computer, key *board, phone *booth,
phone *case, phone *book, phone *number, phone *call, telephone *booth, telephone *pole,
telephone *wire, telephone *line, telephone *book, cell *phone, mobile *phone, head phone,
ear phone, oven *mitt, oven *glove, *microwave oven, toaster *oven, sink hole, book *shelf,
book *case, book *store, book *bag, book mark, book worm, book *end, note *book, hair *drier,
hair *dryer, blow *dryer, hair *brush, tooth *brush, tooth *paste, hand *bag, back *pack,
suit *case, hand shake!, tie dye!, railroad tie, bow *tie, neck *tie, zip tie, apple juice,
apple pie, apple *tree, apple sauce, apple cider, apple orchard, pine apple, adam's apple,
big apple, orange juice, orange *tree, orange peel, banana bread, banana *tree, banana *boat,
banana peel, carrot *cake, carrot juice, carrot *soup, broccoli *soup, fish *soup, pan cake,
cheese *cake, cake *stand!, cake *pan, sandwich *board, sandwich *shop, pizza *box, pizza *cutter,
pizza *oven, pizza *parlor, pizza *shop, pizza *pan, pizza *place, pizza *restaurant, donut *shop,
donut *box, doughnut *shop, bean bag, ski *slope, ski *pole, ski *resort, ski *mask, ski *boot,
ski *lodge, ski *jacket, ski *suit, ski *run, ski *hill, ski *trail, ski *goggles, ski *area,
snow *board, snow *man, skate *board, skate *park, surf *board, skateboard *park, skateboard *ramp,
skateboard *shop, kite *surfing, kite *surfer, kite *board, kite *boarding, kite *boarder,
frisbee golf, record player, cd player, dvd player, music player, media player, video player,
water *pitcher, cake batter, pancake batter, dream catcher, lady bug, man hole, kid glove,
baby *carriage, baby *stroller, baby *crib, baby *bottle, baby *seat, baby *chair, baby *food,
baby *clothes, baby *carrot, child *seat, gingerbread man, gingerbread house, doll house
"""
#: Animals of which a young or grown one is no baby and no adult of ours.
_ANIMALS = """
bear bird calf cat cow cub deer dog duck elephant giraffe goat goose horse lamb lion monkey panda
sheep zebra
"""
#: The same in scripts without spaces, where a shorter name is found inside of a longer word.
_UNSPACED = """
热狗 熱狗 斑马 斑馬 河马 河馬 海马 海馬 马桶 馬桶 马路 馬路 马铃薯 馬鈴薯
马克*杯 馬克*杯 马车 馬車 熊猫 熊貓 大熊猫 大熊貓 猫头鹰 貓頭鷹 鼠标 鼠標 海狗 海星
海豹 海象 车站 車站 火车 火車 火车站 火車站 自行车 自行車 摩托车 摩托車 停车场 停車場
花瓶 花生 花椰菜 狗*屋 鸟*巢 鳥*巢 船*屋 牛仔 牛奶 牛油果 羊毛 鱼缸 魚缸 电车
電車 花火 馬鹿 熊手 猫背 車*椅子 自転車 駐車場 鳥居 犬*小屋 鳥*小屋 金*魚 人魚 海牛
"""


@lru_cache(maxsize=1)
def compounds() -> dict[str, frozenset[int]]:
    """Return every compound in singular and plural, with the places of the words that it shows.

    In a script without spaces every letter counts as a word.

    Examples
    --------
    >>> compounds()["hot dogs"], compounds()["dog house"], "bus stops" in compounds()
    (frozenset(), frozenset({1}), False)
    """
    found: dict[str, frozenset[int]] = {}
    grown = [f"{age} *{one}" for age in ("baby", "adult", "mother") for one in _ANIMALS.split()]
    for entry in [*COMPOUNDS.replace("\n", " ").split(","), *grown]:
        starred = entry.rstrip("! ").split()
        compound = " ".join(word.lstrip("*") for word in starred)
        shown = frozenset(at for at, word in enumerate(starred) if word.startswith("*"))
        forms = (compound,) if entry.rstrip().endswith("!") else inflect(compound)
        found.update(dict.fromkeys(forms, shown))
    for entry in _UNSPACED.split():
        hides, _, shows = entry.partition("*")
        places = range(len(hides), len(hides) + len(shows))
        found[hides + shows] = frozenset(places)
    return found
