"""Singular and plural, both ways."""

from __future__ import annotations

import pytest

from mmkn_widgets.attribution import Concept, inflect

#: singular:plural; one word for nouns with one form
NOUNS = """
car:cars bus:buses dog:dogs person:people man:men woman:women child:children mouse:mice goose:geese
foot:feet tooth:teeth knife:knives leaf:leaves shelf:shelves wolf:wolves loaf:loaves calf:calves
scarf:scarves hoof:hooves tomato:tomatoes potato:potatoes ox:oxen moose sheep deer aircraft
fish:fishes broccoli skis scissors glasses sunglasses pants jeans policeman:policemen
snowman:snowmen fireman:firemen human:humans german:germans bookshelf:bookshelves
penknife:penknives werewolf:werewolves housewife:housewives midwife:midwives passer-by:passers-by
passerby:passersby mother-in-law:mothers-in-law bird_of_prey:birds_of_prey runner-up:runners-up
cactus:cacti octopus:octopuses quiz:quizzes photo:photos piano:pianos zoo:zoos kangaroo:kangaroos
video:videos radio:radios hero:heroes mosquito:mosquitoes volcano:volcanoes avocado:avocados
shoe:shoes toe:toes canoe:canoes house:houses horse:horses vase:vases rose:roses nose:noses
purse:purses blouse:blouses case:cases cheese:cheeses glove:gloves stove:stoves dove:doves
olive:olives wave:waves cave:caves sleeve:sleeves roof:roofs chief:chiefs giraffe:giraffes
chef:chefs cliff:cliffs belief:beliefs handkerchief:handkerchiefs lens:lenses gas:gases iris:irises
canvas:canvases glass:glasses box:boxes bench:benches brush:brushes beach:beaches watch:watches
stomach:stomachs headache:headaches avalanche:avalanches axe:axes cherry:cherries berry:berries
puppy:puppies kitty:kitties cookie:cookies pie:pies tie:ties city:cities party:parties movie:movies
zombie:zombies toy:toys monkey:monkeys key:keys tv:tvs dvd:dvds suv:suvs menu:menus emu:emus
taxi:taxis kiwi:kiwis bikini:bikinis virus:viruses walrus:walruses circus:circuses
hippopotamus:hippopotamuses campus:campuses fuse:fuses tortoise:tortoises cruise:cruises size:sizes
prize:prizes maze:mazes waltz:waltzes class:classes dress:dresses mattress:mattresses cross:crosses
compass:compasses fire_hydrant:fire_hydrants stop_sign:stop_signs hair_drier:hair_driers
wine_glass:wine_glasses hot_dog:hot_dogs teddy_bear:teddy_bears tennis_racket:tennis_rackets
baseball_bat:baseball_bats cell_phone:cell_phones dining_table:dining_tables specimen:specimens
omen:omens criterion:criteria phenomenon:phenomena bacterium:bacteria matrix:matrices crisis:crises
larva:larvae bureau:bureaus mango:mangoes flamingo:flamingos die:dice lady:ladies
butterfly:butterflies grandchild:grandchildren t-shirt:t-shirts ice_cream:ice_creams
umbrella:umbrellas clock:clocks donut:donuts tennis chess sandwich:sandwiches
toothbrush:toothbrushes zebra:zebras ostrich:ostriches caf\u00e9:caf\u00e9s quiche:quiches
mustache:mustaches dwarf:dwarves thief:thieves half:halves elf:elves life:lives
soliloquy:soliloquies mongoose:mongooses species series headquarters police
"""


@pytest.mark.parametrize("noun", NOUNS.split())
def test_a_plural_is_its_singular(noun: str) -> None:
    singular, _, plural = noun.replace("_", " ").partition(":")
    forms = inflect(singular)
    assert forms[0] == singular
    if plural == "glasses":  # which are worn, if nothing else is said
        assert forms[1:] == ("glasses",)
        return
    assert forms[1:2] == ((plural,) if plural else ())
    if plural:
        assert inflect(plural) == forms
        assert Concept(plural) == Concept(singular)


def test_there_are_enough_nouns() -> None:
    assert len(NOUNS.split()) >= 150


@pytest.mark.parametrize(
    "word", ["\u72ac", "\u0441\u043e\u0431\u0430\u043a\u0430", "3d", "", "\uac1c"]
)
def test_what_is_not_english_is_left_alone(word: str) -> None:
    assert inflect(word) == (word,)


def test_second_plurals_count_too() -> None:
    assert inflect("octopus") == ("octopus", "octopuses", "octopi")
    assert Concept("octopus").named_in("two octopi")
    assert Concept("persons").forms == ("person", "people", "persons")
