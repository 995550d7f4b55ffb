"""Online experiments that ask people to recognise metamers: plain pages that need nothing but themselves."""
